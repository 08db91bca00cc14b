"""Another OpenAI-compatible server: a real one on loopback, which answers as it is told to."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest


class Handler(BaseHTTPRequestHandler):
    """Speaks as vLLM does: events with deltas and log-probabilities, then the end mark."""

    seen: ClassVar[dict[str, Any]] = {}
    key: ClassVar[str | None] = None
    chunks: ClassVar[list[str]] = []
    status, delay_s = 200, 0.0

    def do_POST(self) -> None:
        Handler.key = self.headers["authorization"]
        Handler.seen = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(Handler.status)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked has left
            for chunk in Handler.chunks:
                time.sleep(Handler.delay_s)
                self.wfile.write(f"data: {chunk}\n\n".encode())

    def log_message(self, *_: Any) -> None:
        pass


def chunk(text: str | None, *told: float, finish: str | None = None) -> str:
    content = [{"token": "x", "logprob": value} for value in told]
    choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": content}}
    return json.dumps({"choices": [choice | {"finish_reason": finish}]})


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.status, Handler.delay_s, Handler.chunks, Handler.seen = 200, 0.0, [], {}
    yield f"http://127.0.0.1:{server.server_port}/v1/"
    server.shutdown()
