"""What is the same in the service of every model: settings, application, provenance, feedback.

    settings(...)      keyword arguments of @bentoml.service
    application(...)   the FastAPI app that BentoML mounts: /info, /feedback, error shape, guards
    in_pool(...)       the blocking part of an answer, off the event loop

The work lies in a mounted ASGI app because BentoML's own endpoint wrapper costs more than a small
model: 969 requests/s plain, 6,878 with the settings below and a mounted app.
"""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
import psutil
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, create_model
from starlette.exceptions import HTTPException

from shared import bodies, guards, params
from shared.bodies import body as body
from shared.bodies import read as read
from shared.guards import BadInput
from shared.requestlog import RequestLog

Result = TypeVar("Result")


class ServiceParams(params.Params):
    """Section `service` of params.yaml; the explanations stand there."""

    max_body_mb: float = Field(gt=0)
    max_concurrency: int = Field(ge=1)
    timeout_s: float = Field(gt=0)
    threads: int = Field(ge=1)
    log_folder: str
    log_max_mb: float = Field(gt=0)
    log_keep_days: float = Field(gt=0)
    log_inputs: bool


def settings(config: ServiceParams) -> dict[str, Any]:
    """Keyword arguments for @bentoml.service, each with its reason."""
    return {
        # Reachable from elsewhere only when asked: bentoml serve --host 0.0.0.0
        "http": {"host": "127.0.0.1"},
        # BentoML's timer of a request is never cancelled and keeps the request alive until then:
        # just above the slowest answer.
        "traffic": {"timeout": config.timeout_s},
        # guards.py writes one line of JSON instead
        "logging": {"access": {"enabled": False}},
        # Spans are half the time of a light request, exported or not.
        "tracing": {"excluded_urls": ".*"},
    }


def image() -> Any:
    """How BentoML builds the container image: packaging's exact versions, not resolved again."""
    import bentoml

    bare = bentoml.images.Image(python_version="3.11", lock_python_packages=False)
    return bare.requirements_file("requirements-serve.txt")


def application(title: str, config: ServiceParams, chain: dict[str, Any], truth: Any) -> FastAPI:
    """The app that a service mounts at "/"; `app.state.log` takes records for monitoring.

    Adds /info and /feedback; `truth` is the type of a delayed label, e.g. Literal["good", "bad"].
    """
    # BentoML has its own pages
    unused: Any = dict.fromkeys(["docs_url", "redoc_url", "openapi_url"])
    app = FastAPI(title=title, lifespan=_lifespan, responses=bodies.RESPONSES, **unused)
    folder, limits = Path(config.log_folder), (config.log_max_mb, config.log_keep_days)
    app.state.log = RequestLog(folder, "requests", *limits)
    app.state.feedback = RequestLog(folder, "feedback", *limits)
    secret = feedback_secret(folder)
    strict = ConfigDict(extra="forbid", allow_inf_nan=False)
    identity = (str, Field(min_length=40, max_length=40))
    feedback_model = create_model(
        "Feedback", __config__=strict, request_id=identity, truth=(truth, ...)
    )

    @app.get("/info")
    def info() -> dict[str, Any]:
        """Where this model comes from: Bento, model version, hash of the pipeline, git commit."""
        return chain

    @app.post("/feedback", openapi_extra=bodies.body(feedback_model))
    async def feedback(request: Request) -> JSONResponse:
        """The truth about an earlier answer, once it is known."""
        given: Any = await bodies.read(request, feedback_model)
        if not guards.is_ours(given.request_id, secret):
            raise BadInput("request_id", "is not an id that this service gave out", 404)
        record = {"id": given.request_id, "truth": given.truth, "model": chain["model_version"]}
        app.state.feedback.write(record)
        return answer(request, chain, {"accepted": True})

    app.add_exception_handler(BadInput, _bad_input)
    app.add_exception_handler(HTTPException, _http_error)
    return app


def guard(config: ServiceParams, content_types: set[str]) -> dict[str, Any]:
    """Keyword arguments for `Service.add_asgi_middleware(guards.Guard, ...)`."""
    return {
        "max_body_mb": config.max_body_mb,
        "content_types": frozenset({"application/json", *content_types}),
        "max_concurrency": config.max_concurrency,
        "token": os.environ.get("SERVICE_TOKEN") or None,
        "secret": feedback_secret(Path(config.log_folder)),
    }


def answer(request: Request, chain: dict[str, Any], content: dict[str, Any]) -> JSONResponse:
    """What every route answers: content, the request's id, the model's version and provenance."""
    names = {"request_id": request.state.request_id, "model_version": chain["model_version"]}
    return JSONResponse({**content, **names, "provenance": chain})


async def in_pool(function: Callable[..., Result], *arguments: Any) -> Result:
    """Run the blocking part of an answer in a thread, so that other requests are read meanwhile."""
    return await anyio.to_thread.run_sync(function, *arguments)


def feedback_secret(folder: Path) -> bytes:
    """What signs request ids: SERVICE_SECRET, or made once beside the log for all workers."""
    if given := os.environ.get("SERVICE_SECRET"):
        return given.encode()
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / ".secret", folder / f".secret.{secrets.token_hex(4)}"
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):  # another worker was first
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    refuse_open_door()
    # What it says about broken forms stands in our own line.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    collector = asyncio.create_task(_collect_in_time())
    yield
    collector.cancel()


def refuse_open_door() -> None:
    """Raise when this process listens beyond loopback without a token: anybody could fill it."""
    if os.environ.get("SERVICE_TOKEN") or os.environ.get("SERVICE_OPEN") == "1":
        return
    for connection in psutil.Process().net_connections(kind="inet"):
        address = connection.laddr.ip if connection.status == psutil.CONN_LISTEN else "127.0.0.1"
        if not (address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")):
            mend = "set SERVICE_TOKEN, or SERVICE_OPEN=1 behind a proxy"
            raise RuntimeError(f"listening on {address} without a token: {mend}")


async def _collect_in_time(seconds: float = 30) -> None:
    """Collect garbage of what came after start-up in a rhythm, not in the middle of an answer."""
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        await asyncio.sleep(seconds)
        gc.collect()


async def _bad_input(request: Request, error: Any) -> JSONResponse:
    content = {"error": error.reason, "field": error.field, "request_id": request.state.request_id}
    return JSONResponse(content, error.status)


async def _http_error(request: Request, error: Any) -> JSONResponse:
    # Health checks pass the guard without an id.
    request_id = getattr(request.state, "request_id", None)
    content = {"error": str(error.detail), "field": "path", "request_id": request_id}
    return JSONResponse(content, error.status_code, headers=error.headers)
