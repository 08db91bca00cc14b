"""Held-out data as traffic: at a rate, with truths later, every answer counted."""

import argparse
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared import replay, smoke
from shared.replay import Item


class Service(BaseHTTPRequestHandler):
    """Answers with what it was asked; 500 for a negative number."""

    told: list[dict[str, Any]] = []  # noqa: RUF012 (one for the class, as the handlers come and go)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status = 500 if body.get("x", 0) < 0 else 200
        if self.path == "/feedback":
            self.told.append(body)
        answer = {"request_id": str(body.get("x")), "model_version": "m1", "x": body.get("x")}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Service.told.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def asked(monkeypatch: pytest.MonkeyPatch, url: str, *more: str) -> argparse.Namespace:
    monkeypatch.setattr("sys.argv", ["traffic.py", "--url", url, "--truth-after", "0", *more])
    return replay.arguments("", ["none", "other"], rate=500)


def test_answers_are_counted_and_truths_follow(
    monkeypatch: pytest.MonkeyPatch, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    items = iter([Item({"x": 1}, "a"), Item({"x": -1}, "b"), Item({"x": 2}, None)])
    sent = replay.send(asked(monkeypatch, url), "/ask", items)
    assert sent.statuses == {200: 2, 500: 1} and sent.failed == 1
    assert sent.versions == {"m1": 2}
    assert Service.told == [{"request_id": "1", "truth": "a"}]
    assert "traffic: /ask: 500 after " in capsys.readouterr().err, "what failed is told"


def test_it_ends_after_the_count_and_tells_a_share_of_the_truths(
    monkeypatch: pytest.MonkeyPatch, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    endless = (Item({"x": number}, number) for number in range(10**6))
    given = asked(monkeypatch, url, "--count", "100", "--truth-share", "0.5")
    sent = replay.send(given, "/ask", endless)
    assert sent.statuses == {200: 100}
    assert 25 < len(Service.told) < 75
    line = capsys.readouterr().out.strip()
    assert json.loads(line.removeprefix("traffic: "))["answers"] == {"200": 100}


def test_a_service_that_is_down_is_counted_as_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    down = asked(monkeypatch, "http://127.0.0.1:9", "--count", "3")
    assert replay.send(down, "/ask", iter([Item({}, 1)] * 3)).statuses == {0: 3}
    assert "ConnectError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "here", "sent"),
    [
        (None, True, ["--once"]),
        (40, True, ["--count", "40", "--seconds", "90"]),
        (None, False, ["--count", "200", "--seconds", "90"]),
        (40, False, ["--count", "40", "--seconds", "90"]),
    ],
)
def test_a_smoke_test_asks_all_that_is_held_out_where_nothing_is_emulated(
    count: int | None, here: bool, sent: list[str]
) -> None:
    assert smoke.extent(argparse.Namespace(count=count, seconds=90), here) == sent
