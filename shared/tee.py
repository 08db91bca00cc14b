"""Asks two services the same and notes where they differ.

    with Tee(one, other, "token") as tee: send traffic to tee.url, then look at tee.differences

What follows from an answer, as in a game, is asked of both with the answer of the first.
"""

import json
import statistics
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared import container

UNANSWERED = 422  # a model's own: it found no whole answer to a question that is right
OWN = ("request_id", "created")  # differ between any two answers, or a second later


class Tee:
    """A server on loopback in a thread; `token` goes with what it sends on.

    tolerance: relative, of numbers; 0 asks for the very same.
    """

    def __init__(self, one: str, other: str, token: str, tolerance: float = 0.0) -> None:
        self.one, self.other, self.token, self.tolerance = one, other, token, tolerance
        self.milliseconds: list[float] = []
        self.differences: list[str] = []
        self.worst = 0.0  # distance of two answers
        self.wrong: list[str] = []  # questions: two refusals of one are alike and prove nothing
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "Tee":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def ask(self, path: str, body: bytes) -> tuple[int, Any]:
        """The answer of the first service, once both have answered."""
        begin = time.perf_counter()
        status, first = container.request(self.one + path, self.token, body)
        self.milliseconds.append((time.perf_counter() - begin) * 1e3)
        other, second = container.request(self.other + path, self.token, body)
        if status >= 400 and status != UNANSWERED:
            self.wrong.append(f"{path}: {status} {first}"[:1000])
        far = distance(plain(first), plain(second)) if status == other else float("inf")
        self.worst = max(self.worst, far)
        if far > self.tolerance:
            self.differences.append(f"{path}: {status} {first} != {other} {second}"[:1000])
        return status, first

    @property
    def asked(self) -> int:
        return len(self.milliseconds)

    @property
    def p95_ms(self) -> float:
        """Of the first service's answers, each asked alone."""
        return statistics.quantiles(self.milliseconds, n=20, method="inclusive")[-1]


def handler(tee: Tee) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, content = tee.ask(self.path, body)
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def plain(answer: Any) -> Any:
    """An answer without what differs between any two."""
    return {key: value for key, value in answer.items() if key not in OWN}


def distance(one: Any, other: Any) -> float:
    """0 for the same, infinity for another shape, text or choice; else the worst relative distance
    of two numbers, beside 1 for small ones."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return max((distance(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max((distance(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    numbers = (int, float)
    if one == other:
        return 0.0
    if isinstance(one, bool) or not (isinstance(one, numbers) and isinstance(other, numbers)):
        return float("inf")
    return abs(one - other) / max(1.0, abs(one), abs(other))
