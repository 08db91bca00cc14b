"""The yardstick itself: counts what was served, once each."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from shared import loads


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
    load = loads.requests(url, [b"a", b"b"], "text/plain", clients=3, seconds=1)
    assert load.requests_per_second == pytest.approx(handler.seen, rel=0.2)
    assert 0 < load.p50_ms <= load.p99_ms


def test_an_error_is_not_counted_as_speed(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    handler.status = 429
    with pytest.raises(RuntimeError, match="refused"):
        loads.requests(url, [b"a"], "text/plain", clients=1, seconds=1)


def test_calls_use_all_inputs_in_turn() -> None:
    seen: list[int] = []
    load = loads.calls(seen.append, [1, 2, 3], threads=1, seconds=0.01)
    assert seen[:4] == [1, 2, 3, 1] and load.requests_per_second > 0
