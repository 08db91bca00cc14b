"""A version counts as served when every worker says so."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from shared import saying


@pytest.fixture
def service() -> Iterator[tuple[str, list[str]]]:
    """A service of two workers that take connections in turn; the list has their versions."""
    versions, tokens = ["old", "old"], []

    class Info(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers.get("authorization"))
            body = json.dumps({"model_version": versions[len(tokens) % 2]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Info)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", versions
    server.shutdown()


def test_a_version_is_served_when_every_worker_serves_it(
    service: tuple[str, list[str]],
) -> None:
    url, versions = service
    assert not saying.served(url, "new", 0)
    versions[0] = "new"
    assert not saying.served(url, "new", 0.3), "one of two workers"
    threading.Timer(0.3, lambda: versions.__setitem__(1, "new")).start()
    assert saying.served(url, "new", 10)


def test_a_service_that_does_not_answer_serves_nothing() -> None:
    assert not saying.served("http://127.0.0.1:9", "new", 0)
    assert saying.says("http://127.0.0.1:9") is None
