"""What is the same in the service of every model: settings, application, provenance, feedback.

    settings(...)      keyword arguments of @bentoml.service
    application(...)   the FastAPI app that BentoML mounts: /info, /feedback, error shape
    protect(...)       guards before it, and its POST routes called directly
    in_pool(...)       the blocking part of an answer, off the event loop
    keep(...)          what monitoring needs of an answer, into the request log

The work lies in a mounted ASGI app because BentoML's own endpoint wrapper costs more than a small
model: 969 requests/s plain, 6,878 with the settings below and a mounted app.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model
from starlette.exceptions import HTTPException

from shared import bodies, guards, params, refusals, requestids, telemetry
from shared.bodies import body as body
from shared.bodies import read as read
from shared.building import image as image
from shared.direct import Direct
from shared.lifespan import lifespan
from shared.models import Loaded, Models
from shared.pool import in_pool as in_pool
from shared.refusals import BadInput
from shared.requestlog import RequestLog, WhenFull, written

SCHEMA = 1  # of the request log's records


class ServiceParams(params.Params):
    """Section `service` of params.yaml; the explanations stand there."""

    max_body_mb: float = Field(gt=0)
    max_concurrency: int = Field(ge=1)
    timeout_s: float = Field(gt=0)
    threads: int = Field(ge=1)
    log_folder: str
    log_max_mb: float = Field(gt=0)
    log_when_full: WhenFull = "oldest"
    log_keep_days: float = Field(gt=0)
    log_inputs: bool


def settings(config: ServiceParams) -> dict[str, Any]:
    """Keyword arguments for @bentoml.service, each with its reason."""
    in_image, number = "BENTOML_CONTAINERIZED" in os.environ, workers()
    if number > 1:  # BentoML would not replace a dead one while another lives
        os.environ.pop("BENTOML_CONTAINERIZED", None)
    return {
        # Reachable from elsewhere only when asked, bentoml serve --host 0.0.0.0, or in an image,
        # whose loopback nobody reaches. Either way it then wants SERVICE_TOKEN: lifespan.py.
        "http": {"host": "0.0.0.0" if in_image else "127.0.0.1"},  # noqa: S104
        # BentoML's timer of a request is never cancelled and keeps the request alive until then:
        # just above the slowest answer.
        "traffic": {"timeout": config.timeout_s},
        "workers": number,
        # They have series for each path that anybody asks for: 10,000 such requests cost a worker
        # 221 MB, and /metrics timed out from then on. Ours are in telemetry.py.
        "metrics": {"enabled": False},
        # guards.py writes one line of JSON instead
        "logging": {"access": {"enabled": False}},
        "tracing": telemetry.tracing(),
    }


def workers() -> int:
    """Processes that answer: SERVICE_WORKERS, 1 without it; BentoML heeds no --api-workers."""
    given = os.environ.get("SERVICE_WORKERS", "1")
    if not given.isdecimal() or int(given) < 1:
        raise SystemExit(f"SERVICE_WORKERS: {given!r} is not a number of processes: 1, 2, ...")
    return int(given)


def application(title: str, config: ServiceParams, models: Models[Any], truth: Any) -> FastAPI:
    """The app that a service mounts at "/"; while it runs, `models` follows its pointer.

    Adds /info, /metrics and /feedback; truth: the type of a delayed label, e.g. Literal["a", "b"].
    """
    # BentoML has its own pages
    unused: Any = dict.fromkeys(["docs_url", "redoc_url", "openapi_url"])
    app = FastAPI(title=title, lifespan=lifespan, responses=bodies.RESPONSES, **unused)
    folder = Path(config.log_folder)
    limits = (config.log_max_mb, config.log_keep_days, config.log_when_full)
    app.state.pool = ThreadPoolExecutor(config.threads, "answers")
    app.state.models, app.state.log = models, RequestLog(folder, "requests", *limits)
    app.state.feedback = RequestLog(folder, "feedback", *limits)
    secret = requestids.signing_secret(folder)
    feedback_model = _feedback(truth)

    @app.get("/info")
    def info() -> dict[str, Any]:
        """Where this model comes from: Bento, model version, hash of the pipeline, git commit."""
        return models.now.chain

    @app.get("/metrics", include_in_schema=False)  # BentoML's OpenAPI has it
    def metrics() -> Response:
        return Response(telemetry.exposition(), media_type=telemetry.CONTENT_TYPE)

    @app.post("/feedback", openapi_extra=bodies.body(feedback_model))
    async def feedback(request: Request) -> Response:
        """The truth about an earlier answer, once it is known."""
        given: Any = await bodies.read(request, feedback_model)
        if not requestids.is_ours(given.request_id, secret):
            raise BadInput("request_id", "is not an id that this service gave out", 404)
        if not app.state.feedback.write({"id": given.request_id, "truth": given.truth}):
            telemetry.DROPPED.inc()
            raise BadInput("truth", "could not be stored; send it again later", 503)
        return answer(request, models.now, {"accepted": True})

    app.add_exception_handler(BadInput, _bad_input)
    app.add_exception_handler(HTTPException, _http_error)
    return app


def _feedback(truth: Any) -> type[BaseModel]:
    strict = ConfigDict(extra="forbid", allow_inf_nan=False)
    identity = (str, Field(min_length=40, max_length=40))
    whole = Annotated[truth, AfterValidator(bodies.finite)]
    return create_model("Feedback", __config__=strict, request_id=identity, truth=(whole, ...))


def protect(service: Any, app: FastAPI, config: ServiceParams, *content_types: str) -> None:
    """Put the guards before a BentoML service, and its POST routes right behind them.

    app: all routes; content_types: of bodies, beside JSON.
    """
    service.add_asgi_middleware(guards.Guard, **guard(app, config, set(content_types)))
    service.add_asgi_middleware(Direct, routes=app)


def guard(app: FastAPI, config: ServiceParams, content_types: set[str]) -> dict[str, Any]:
    """Keyword arguments of guards.Guard; app: all routes."""
    return {
        "max_body_mb": config.max_body_mb,
        "content_types": frozenset({"application/json", *content_types}),
        "max_concurrency": config.max_concurrency,
        # BentoML's timer began with the first byte: a slow body leaves time for its answer.
        "body_timeout_s": min(10.0, config.timeout_s / 2),
        "token": os.environ.get("SERVICE_TOKEN") or None,
        "secret": requestids.signing_secret(Path(config.log_folder)),
        "paths": frozenset(app.openapi()["paths"]),
    }


def answer(request: Request, loaded: Loaded[Any], content: dict[str, Any]) -> Response:
    """What every route answers: content, the request's id, the model's version and provenance."""
    chain = loaded.chain
    names = {"request_id": request.state.request_id, "model_version": chain["model_version"]}
    body = written({**content, **names, "provenance": chain})
    return Response(body, media_type="application/json")


def keep(request: Request, loaded: Loaded[Any], record: dict[str, Any] | bytes) -> None:
    """Write to the request log what monitoring needs of an answer; what cannot be is counted.

    Adds time, schema, id, model (its version) and ms since the guard took the request.
    record: of an answer that is given again and again, as `written` made it, without these fields.
    With `failed`, a status, it is of a request that ended without an answer; with `route`, of
    another route than the one whose answers are judged.
    """
    own = {
        "schema": SCHEMA,
        "id": request.state.request_id,
        "model": loaded.chain["model_version"],
        "ms": round((time.perf_counter() - request.state.begin) * 1e3, 2),
    }
    log: RequestLog = request.app.state.log
    done = log.write(own, record) if isinstance(record, bytes) else log.write(own | record | own)
    if not done:
        telemetry.DROPPED.inc()


async def _bad_input(request: Request, error: Any) -> Response:
    # Health checks pass the guard without an id.
    request_id = getattr(request.state, "request_id", None)
    return refusals.response(request.url.path, error, request_id)


async def _http_error(request: Request, error: Any) -> Response:
    found = await _bad_input(request, BadInput("path", str(error.detail), error.status_code))
    found.headers.update(error.headers or {})
    return found
