"""The guard alone: what it counts, and how it refuses on paths of OpenAI's."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from shared import guards, refusals, requestids, telemetry

JSON = [(b"content-type", b"application/json"), (b"content-length", b"2")]


def guard(app: Any, **changes: Any) -> guards.Guard:
    given: dict[str, Any] = {"max_body_mb": 0.001, "content_types": frozenset({"application/json"})}
    given |= {"max_concurrency": 1, "paths": frozenset({"/act", "/v1/chat"})}
    return guards.Guard(app, **(given | changes))


async def ask(
    guarded: guards.Guard, path: str = "/act", body: bytes = b"{}", headers: Any = JSON
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; status 0 where there was no answer."""
    messages: list[Any] = [{"type": "http.request", "body": body}]
    status, found, content = 0, {}, b""

    async def receive() -> Any:
        return messages.pop()

    async def send(message: Any) -> None:
        nonlocal status, found, content
        if message["type"] == "http.response.start":
            found = {key.decode(): value.decode() for key, value in message["headers"]}
            status = message["status"]
        else:
            content += message["body"]

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    await guarded(scope, receive, send)
    return status, found, content


def answering(status: int) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def counted(path: str, status: str) -> float:
    labels = {"path": path, "status": status}
    return REGISTRY.get_sample_value("service_request_seconds_count", labels) or 0.0


def in_progress() -> float:
    return REGISTRY.get_sample_value("service_requests_in_progress") or 0.0


def test_those_who_wait_count_also_where_answers_leave_no_pause() -> None:
    """Goal S9: of a hundred who come at once ten are answered, and nobody waits to be refused."""
    order: list[int] = []

    async def one(guarded: guards.Guard) -> None:
        status, headers, _ = await ask(guarded)
        order.append(status)
        assert headers["x-request-id"] and (status == 200 or headers["retry-after"])

    async def run() -> None:
        guarded = guard(answering(200), max_concurrency=10, max_body_mb=1)
        await asyncio.gather(*(one(guarded) for _ in range(100)))
        assert guarded.active == 0

    asyncio.run(run())
    assert order == [429] * 90 + [200] * 10


@pytest.mark.parametrize(
    ("status", "name"), [(200, "2xx"), (307, "2xx"), (404, "4xx"), (499, "4xx"), (503, "5xx")]
)
def test_requests_are_timed_by_route_and_class_of_status(status: int, name: str) -> None:
    for path, label in (("/act", "/act"), ("/act/x", "other"), ("/" + "x" * 500, "other")):
        before = counted(label, name)
        asyncio.run(ask(guard(answering(status)), path))
        assert counted(label, name) == before + 1


def test_requests_without_an_answer_are_counted_by_route_and_status() -> None:
    def sample(path: str, status: int) -> float | None:
        labels = {"path": path, "status": str(status)}
        return REGISTRY.get_sample_value("service_unanswered_total", labels)

    for status in (422, 429, 503, 504):
        for path, label in (("/act", "/act"), ("/act/x", "other")):
            guarded = guard(answering(status))
            before = sample(label, status)
            assert before is not None, "it exists before the first"
            asyncio.run(ask(guarded, path))
            assert sample(label, status) == before + 1
    asyncio.run(ask(guard(answering(400)), "/act"))
    assert sample("/act", 400) is None


def test_series_exist_before_the_first_request_and_what_asks_for_them_is_not_counted() -> None:
    guarded = guard(answering(200), paths=frozenset({"/never"}))
    for name in telemetry.STATUSES:
        labels = {"path": "/never", "status": name}
        assert REGISTRY.get_sample_value("service_request_seconds_count", labels) == 0
    before = counted("other", "2xx")
    for path in ("/metrics", "/livez"):
        asyncio.run(ask(guarded, path))
    assert counted("other", "2xx") == before


def test_a_request_is_in_progress_until_its_end_whatever_that_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gate = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise RuntimeError("in the middle")

    async def run() -> None:
        task = asyncio.create_task(ask(guard(slow)))
        while in_progress() == before:
            await asyncio.sleep(0)
        task.cancel()  # as BentoML's timer does, which answers 504 itself
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await ask(guard(broken))

    before, failed = in_progress(), counted("/act", "5xx")
    asyncio.run(run())
    assert in_progress() == before and counted("/act", "5xx") == failed + 2
    late, fault = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (late["status"], fault["status"]) == (504, 500) and "in the middle" in fault["error"]


@pytest.mark.parametrize("name", [b"content-type", b"Authorization", b"content-length"])
def test_a_repeated_header_that_two_readers_might_read_differently_is_refused(name: bytes) -> None:
    headers = [*JSON, (name, b"application/json"), (name.lower(), b"text/plain")]
    status, _, body = asyncio.run(ask(guard(answering(200)), headers=headers))
    assert status == 400 and json.loads(body)["field"] == name.decode().lower()
    others = [*JSON, (b"accept", b"a"), (b"accept", b"b")]
    assert asyncio.run(ask(guard(answering(200)), headers=others))[0] == 200


def test_a_body_that_came_with_an_upgrade_is_refused_and_its_connection_closed() -> None:
    """The server's parser skips such a body: it would look empty, or like the next request."""
    headers = [*JSON, (b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c")]
    status, head, body = asyncio.run(ask(guard(answering(200)), headers=headers))
    assert status == 400 and json.loads(body)["field"] == "upgrade"
    assert head["connection"] == "close"


def test_a_body_is_held_as_long_as_its_request() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        held.append(guarded.intake.held)
        await answering(200)(scope, receive, send)

    held: list[int] = []
    guarded = guard(app)
    assert asyncio.run(ask(guarded, body=b"x" * 900))[0] == 200
    assert held == [900] and guarded.intake.held == 0


def refused(path: str) -> list[tuple[int, dict[str, str], Any]]:
    """401, 413, 415, 429 and 500 at a path."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("inside")

    cases = [
        ask(guard(broken, token="t"), path),
        ask(guard(broken), path, b"x" * 2000),
        ask(guard(broken), path, headers=[(b"content-type", b"\xff"), (b"content-length", b"1")]),
        ask(guard(broken, max_concurrency=0), path),
        ask(guard(broken), path),
    ]

    async def run() -> list[Any]:
        return [await case for case in cases]

    return [(status, head, json.loads(body)) for status, head, body in asyncio.run(run())]


def test_refusals_have_openais_shape_on_its_paths_only() -> None:
    ours, theirs = refused("/act"), refused("/v1/chat")
    codes = [401, 413, 415, 429, 500]
    assert [status for status, _, _ in ours] == codes == [status for status, _, _ in theirs]
    kinds = ["invalid_request_error"] * 3 + ["rate_limit_error", "server_error"]
    for (_, head, told), (status, other, openai), kind in zip(ours, theirs, kinds, strict=True):
        assert told["request_id"] == head["x-request-id"] and len(other["x-request-id"]) == 40
        error = openai["error"]
        assert (error["type"], error["code"], error["param"]) == (kind, str(status), told["field"])
        assert error["message"] == f"{told['field']}: {told['error']}"
        assert head["x-content-type-options"] == other["x-content-type-options"] == "nosniff"
    assert theirs[0][1]["www-authenticate"] == "Bearer" and theirs[3][1]["retry-after"] == "1"


@pytest.mark.parametrize(
    ("path", "shaped"), [("/v1", True), ("/v1/x", True), ("/v1x", False), ("/", False), ("", False)]
)
def test_which_paths_are_openais(path: str, shaped: bool) -> None:
    told = refusals.problem(path, refusals.BadInput("a", "b"), None)
    assert isinstance(told["error"], dict) == shaped


def test_an_id_is_the_services_own_and_its_secret_is_the_same_for_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVICE_SECRET", raising=False)
    secret = requestids.signing_secret(tmp_path)
    assert secret == requestids.signing_secret(tmp_path) and len(secret) == 32
    assert requestids.is_ours(requestids.new(secret), secret)
    assert not requestids.is_ours(requestids.new(b"other"), secret)
    assert not requestids.is_ours("\ud800" * 40, secret)
    monkeypatch.setenv("SERVICE_SECRET", "s")
    assert requestids.signing_secret(tmp_path / "none") == b"s"


def test_a_secret_that_a_power_cut_left_empty_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVICE_SECRET", raising=False)
    (tmp_path / ".secret").touch()
    secret = requestids.signing_secret(tmp_path)
    assert len(secret) == 32 == len((tmp_path / ".secret").read_bytes())
    assert (tmp_path / ".secret").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".secret", ".secret.lock"]
