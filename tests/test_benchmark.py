"""The yardstick itself: counts what was served, names a server that fails."""

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import benchmark


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status, seen = 200, 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).seen += 1
        self.send_response(self.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("Counting", (Handler,), {})
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}", handler
    made.shutdown()


def test_every_request_is_counted_once(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    load = benchmark.requests(url, [b"a", b"b"], "text/plain", clients=3, seconds=0.3)
    assert load.requests_per_second == pytest.approx(handler.seen / 0.3, rel=0.5)
    assert 0 < load.p50_ms <= load.p99_ms


def test_an_error_is_not_counted_as_speed(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    handler.status = 429
    with pytest.raises(ExceptionGroup) as caught:
        benchmark.requests(url, [b"a"], "text/plain", clients=1, seconds=0.3)
    assert "429" in str(caught.value.exceptions[0])


def test_calls_use_all_inputs_in_turn() -> None:
    seen: list[int] = []
    load = benchmark.calls(seen.append, [1, 2, 3], threads=1, seconds=0.01)
    assert seen[:4] == [1, 2, 3, 1] and load.requests_per_second > 0


def test_the_table_shows_the_median_round_as_a_share_of_the_limit() -> None:
    rates = iter([9.0, 100, 300, 200])
    candidates = {"limit": lambda: benchmark.Load(next(rates), 1, 2)}
    results = benchmark.in_turns(candidates)
    assert results["limit"].requests_per_second == 200, "the first round warms up"
    assert "| limit | 200 | 1.0 | 2.0 | 1.00 |" in benchmark.table(results, "limit")


def test_a_server_that_stops_is_named_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with (
        pytest.raises(RuntimeError, match="no model here"),
        benchmark.running(command, "http://127.0.0.1:9/", tmp_path / "log"),
    ):
        pass


def test_a_server_is_stopped_at_the_end(tmp_path: Path) -> None:
    port = benchmark.free_port()
    command = [
        sys.executable,
        "-m",
        "http.server",
        str(port),
        "--bind",
        "127.0.0.1",
        "--directory",
        str(tmp_path),
    ]
    with benchmark.running(command, f"http://127.0.0.1:{port}/", tmp_path / "log"):
        assert benchmark._answers(f"http://127.0.0.1:{port}/")
    assert not benchmark._answers(f"http://127.0.0.1:{port}/")
