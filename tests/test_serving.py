"""Guards and application together, as a service mounts them, over ASGI."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from prometheus_client import REGISTRY
from pydantic import BaseModel, ConfigDict

from shared import bodies, guards, params, requestids, requestlog, serving
from shared.direct import Direct
from shared.models import Models

CHAIN = {"name": "demo", "model_version": "abc", "bento": "demo:1"}


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    image: bytes = b""
    number: float = 0


@pytest.fixture
def config(tmp_path: Path) -> serving.ServiceParams:
    values: dict[str, Any] = {
        "max_body_mb": 0.1,
        "max_concurrency": 2,
        "timeout_s": 5,
        "threads": 1,
    }
    logging = {
        "log_folder": str(tmp_path / "logs"),
        "log_max_mb": 1,
        "log_keep_days": 1,
        "log_inputs": False,
    }
    return serving.ServiceParams(**values, **logging)


@pytest.fixture
def app(config: serving.ServiceParams, tmp_path: Path) -> FastAPI:
    params.write_json(tmp_path / "provenance.json", CHAIN)
    models: Models[Path] = Models(tmp_path, Path, lambda model: {}, lambda model: None)
    made = serving.application("demo", config, models, truth=Literal["yes", "no"])

    @made.post("/ask", openapi_extra=bodies.body(Question, "image", ("image/png",)))
    async def ask(request: Request) -> JSONResponse:
        question = await bodies.read(request, Question, "image")
        size = await serving.in_pool(request, len, question.image)
        serving.keep(request, models.now, made.state.record | {"size": size})
        return serving.answer(request, models.now, {"size": size, "number": question.number})

    @made.post("/fail")
    async def fail(request: Request) -> JSONResponse:
        raise RuntimeError("inside")

    @made.post("/wait")
    async def wait(request: Request) -> JSONResponse:
        await made.state.gate.wait()
        return serving.answer(request, models.now, {})

    made.state.record = {}
    return made


def call(
    app: FastAPI, config: serving.ServiceParams, method: str, path: str, **given: Any
) -> httpx.Response:
    types = {"multipart/form-data", "image/png"}
    guarded = guards.Guard(Direct(app, app), **serving.guard(app, config, types))

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(guarded), base_url="http://t"
        ) as client:
            return await client.request(method, path, **given)

    return asyncio.run(send())


JSON = {"content-type": "application/json"}
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "no content type": ({"content": b"x"}, 415, "content-type"),
    "wrong content type": (
        {"content": b"x", "headers": {"content-type": "text/html"}},
        415,
        "content-type",
    ),
    "no boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "content-type",
    ),
    "broken form": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}},
        400,
        "body",
    ),
    "too large": ({"content": b"x" * 200_000, "headers": JSON}, 413, "body"),
    "broken JSON": ({"content": b"{", "headers": JSON}, 400, "body"),
    "NaN": ({"content": b'{"number": NaN}', "headers": JSON}, 400, "number"),
    "infinity": ({"content": b'{"number": 1e999}', "headers": JSON}, 400, "number"),
    "lone surrogate": ({"content": b'{"image": "\\ud800"}', "headers": JSON}, 400, "body"),
    "deep": (
        {"content": b'{"number": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", "headers": JSON},
        400,
        "body",
    ),
    "unknown field": ({"json": {"numbr": 1}}, 400, "numbr"),
    "a list": ({"json": [1]}, 400, "body"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_4xx_that_names_the_field_and_one_short_log_line(
    app: FastAPI, config: serving.ServiceParams, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given, status, field = BAD[name]
    response = call(app, config, "POST", "/ask", **given)
    assert (response.status_code, response.json()["field"]) == (status, field)
    assert response.json()["request_id"] == response.headers["x-request-id"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and len(lines[0]) <= 300 and json.loads(lines[0])["status"] == status


def test_json_form_and_bare_file_give_the_same(app: FastAPI, config: serving.ServiceParams) -> None:
    ways: list[dict[str, Any]] = [
        {"json": {"image": "abc"}},
        {"files": {"image": ("a.png", b"abc", "image/png")}},
        {"content": b"abc", "headers": {"content-type": "image/png"}},
    ]
    for given in ways:
        response = call(app, config, "POST", "/ask", **given)
        assert response.status_code == 200 and response.json()["size"] == 3
        assert response.json()["provenance"] == CHAIN and response.json()["model_version"] == "abc"


def test_a_chunked_body_is_counted_too(app: FastAPI, config: serving.ServiceParams) -> None:
    async def chunks() -> Any:
        for _ in range(50):
            yield b"x" * 10_000

    assert call(app, config, "POST", "/ask", content=chunks(), headers=JSON).status_code == 413


def test_the_token_covers_every_route_but_health(
    app: FastAPI, config: serving.ServiceParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "secret")
    routes = {route.path for route in app.routes} | {"/metrics", "/docs.json", "/", "/none"}  # type: ignore[attr-defined]
    for path in sorted(routes - guards.HEALTH):
        for method in ("GET", "POST"):
            assert call(app, config, method, path, headers=JSON).status_code == 401, path
    for given in ("Bearer wrong", "secret", "Bearer \u00e4"):
        assert (
            call(app, config, "GET", "/info", headers={"authorization": given.encode()}).status_code
            == 401
        )
    assert (
        call(app, config, "GET", "/info", headers={"authorization": "Bearer secret"}).json()
        == CHAIN
    )
    assert call(app, config, "GET", "/livez").status_code == 404, (
        "passes the guard; BentoML answers it"
    )


def test_a_websocket_is_closed_before_it_opens_and_logged(
    app: FastAPI, config: serving.ServiceParams, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded, sent = guards.Guard(Direct(app, app), **serving.guard(app, config, set())), []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/ask", "headers": []}
    asyncio.run(guarded(scope, receive, send))
    (line,) = capsys.readouterr().err.splitlines()
    assert sent == ["websocket.close"]
    assert json.loads(line)["request"] == "WS /ask" and json.loads(line)["status"] == 403


def test_feedback_takes_only_ids_that_the_service_gave_out(
    app: FastAPI, config: serving.ServiceParams
) -> None:
    request_id = call(app, config, "POST", "/ask", json={}).json()["request_id"]
    good = call(app, config, "POST", "/feedback", json={"request_id": request_id, "truth": "yes"})
    assert good.json()["accepted"] is True
    forged = call(app, config, "POST", "/feedback", json={"request_id": "0" * 40, "truth": "yes"})
    assert forged.status_code == 404
    wrong = call(
        app, config, "POST", "/feedback", json={"request_id": request_id, "truth": "maybe"}
    )
    assert (wrong.status_code, wrong.json()["field"]) == (400, "truth")
    assert [row["truth"] for row in requestlog.read(config.log_folder, "feedback")] == ["yes"]


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_feedback_with_a_number_that_is_none_is_refused(
    config: serving.ServiceParams, tmp_path: Path, number: str
) -> None:
    params.write_json(tmp_path / "provenance.json", CHAIN)
    models: Models[Path] = Models(tmp_path, Path, lambda model: {}, lambda model: None)
    app = serving.application("demo", config, models, truth=dict[str, Any])
    identity = requestids.new(requestids.signing_secret(Path(config.log_folder)))
    body = f'{{"request_id": "{identity}", "truth": {{"a": [{number}]}}}}'
    found = call(app, config, "POST", "/feedback", content=body, headers=JSON)
    assert (found.status_code, found.json()["field"]) == (400, "truth")
    assert "Out of range float" in found.json()["error"]


def test_a_fault_inside_is_500_without_a_trace_in_the_answer(
    app: FastAPI, config: serving.ServiceParams, capsys: pytest.CaptureFixture[str]
) -> None:
    response = call(app, config, "POST", "/fail", json={})
    assert response.status_code == 500 and 'inside"' not in response.text
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError: inside" in json.loads(line)["error"]


@pytest.mark.parametrize("text", ["a\r\nb", "\x1b[31m", '{"a": 1}', "%0d%0a"])
def test_injection_stays_in_one_log_line(
    app: FastAPI, config: serving.ServiceParams, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call(app, config, "POST", "/ask", json={text: text})
    call(app, config, "GET", f"/x{text}" if text.isprintable() else "/x%1b%0a")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(json.loads(line)["status"] >= 400 for line in lines)


def test_more_than_the_limit_at_once_gets_429_with_retry_after(
    app: FastAPI, config: serving.ServiceParams
) -> None:
    guarded = guards.Guard(Direct(app, app), **serving.guard(app, config, set()))

    async def rush() -> list[httpx.Response]:
        app.state.gate = asyncio.Event()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(guarded), base_url="http://t"
        ) as client:
            waiting = [asyncio.create_task(client.post("/wait", json={})) for _ in range(5)]
            while sum(task.done() for task in waiting) < 3:
                await anyio.lowlevel.checkpoint()
            app.state.gate.set()
            return await asyncio.gather(*waiting)

    responses = asyncio.run(rush())
    assert sorted(response.status_code for response in responses) == [200, 200, 429, 429, 429]
    assert all(
        response.headers["retry-after"] == "1"
        for response in responses
        if response.status_code == 429
    )


def test_a_body_that_never_arrives_gets_408(app: FastAPI, config: serving.ServiceParams) -> None:
    given = serving.guard(app, config, set()) | {"body_timeout_s": 0.01}
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/ask",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(guards.Guard(Direct(app, app), **given)(scope, never, send))
    assert sent[0]["status"] == 408


def kept(config: serving.ServiceParams) -> list[dict[str, Any]]:
    return list(requestlog.read(config.log_folder, "requests"))


def test_what_is_kept_says_which_model_answered_which_request_and_how_long_it_took(
    app: FastAPI, config: serving.ServiceParams
) -> None:
    app.state.record = {"model": "a method", "price": 1.5}
    found = call(app, config, "POST", "/ask", json={"image": "abc"}).json()
    (record,) = kept(config)
    assert record["schema"] == 1 and record["model"] == "abc", "ours win over the blueprint's"
    assert record["id"] == found["request_id"] and record["price"] == 1.5 and record["size"] == 3
    assert 0 < record["ms"] < 5000 and record["time"] > 1e9


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: {2, 3}}])
def test_what_cannot_be_kept_is_counted_and_fails_no_request(
    app: FastAPI, config: serving.ServiceParams, value: Any
) -> None:
    before = sample("service_log_dropped_total")
    app.state.record = {"value": value}
    assert call(app, config, "POST", "/ask", json={}).status_code == 200
    assert kept(config) == [] and sample("service_log_dropped_total") == before + 1


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_feedback_that_cannot_be_stored_is_not_accepted(
    app: FastAPI, config: serving.ServiceParams
) -> None:
    given = {"request_id": call(app, config, "POST", "/ask", json={}).json()["request_id"]}
    Path(config.log_folder, "feedback").touch()
    app.state.feedback.folder = Path(config.log_folder, "feedback")  # a file: no log can be made
    found = call(app, config, "POST", "/feedback", json=given | {"truth": "yes"})
    assert found.status_code == 503 and found.json()["field"] == "truth"


def test_the_settings_are_bentomls(
    config: serving.ServiceParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENTOML_CONTAINERIZED", raising=False)
    assert serving.settings(config)["traffic"] == {"timeout": 5.0}
    assert serving.settings(config)["http"]["host"] == "127.0.0.1"
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    assert serving.settings(config)["http"]["host"] == "0.0.0.0"
    monkeypatch.chdir(Path(__file__).parent.parent / "blueprints/cv")
    assert serving.image().python_version == "3.11"


def test_the_number_of_workers_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE_WORKERS", raising=False)
    assert serving.workers() == 1
    monkeypatch.setenv("SERVICE_WORKERS", "3")
    assert serving.workers() == 3
    monkeypatch.setenv("SERVICE_WORKERS", "0")
    with pytest.raises(SystemExit, match="SERVICE_WORKERS: '0' is not a number"):
        serving.workers()


def test_in_an_image_dead_workers_are_replaced_where_there_are_several(
    config: serving.ServiceParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal S11: BentoML does so where it sees no container."""
    for number, seen in (("1", True), ("2", False)):
        monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
        monkeypatch.setenv("SERVICE_WORKERS", number)
        found = serving.settings(config)
        assert (found["workers"], found["http"]) == (int(number), {"host": "0.0.0.0"})
        assert ("BENTOML_CONTAINERIZED" in os.environ) == seen


def test_no_answer_is_taken_for_another_type_and_none_to_a_post_is_kept_on_the_way(
    app: FastAPI, config: serving.ServiceParams
) -> None:
    for path in ("/livez", "/info", "/metrics", "/none"):
        found = call(app, config, "GET", path).headers
        assert found["x-content-type-options"] == "nosniff" and "cache-control" not in found
    for given in ({"json": {}}, {"content": b"x"}):
        found = call(app, config, "POST", "/ask", **given).headers
        assert found["cache-control"] == "no-store"
        assert found["x-content-type-options"] == "nosniff"


def test_the_page_of_metrics_names_only_routes_of_the_service(
    app: FastAPI, config: serving.ServiceParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)  # BentoML sets it in this process
    for i in range(50):
        call(app, config, "GET", f"/{i}")
    call(app, config, "POST", "/ask", json={})
    page = call(app, config, "GET", "/metrics").text
    paths = set(re.findall(r'service_request_seconds_count\{path="([^"]*)"', page))
    assert {"/ask", "/fail", "/wait", "/info", "/feedback", "other"} <= paths
    assert not {f"/{i}" for i in range(50)} & paths and "/metrics" not in paths
