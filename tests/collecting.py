"""A real collector of forwarded records that can be down, refuse, cut connections, or lie."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "collect"


class Collector:
    """On `address` while in its `with` block; `mode` may change meanwhile.

    Modes: "ok"; a status such as "503"; "cut": takes the records, and the answer never comes;
    "portal": answers 200 with a page, as a hotel's network does.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0), mode: str = "ok") -> None:
        self.mode, self.asked, self.wrong_tokens = mode, 0, 0
        self.bodies: list[tuple[int, dict[str, Any]]] = []
        self.records: dict[str, dict[str, Any]] = {}  # by id, in the order of their first coming
        self.doubles = 0
        self.server = ThreadingHTTPServer(address, handler(self))
        self.address: Any = self.server.server_address
        self.url = f"http://{self.address[0]}:{self.address[1]}/records?site=1"

    def __enter__(self) -> "Collector":
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def take(self, content: bytes) -> int:
        body = json.loads(content)
        self.bodies.append((len(content), body))
        for one in body["records"]:
            self.doubles += one["id"] in self.records
            self.records.setdefault(one["id"], one)
        return len(body["records"])

    def numbers(self, log: str = "requests") -> list[int]:
        """`n` of each record of a log, in the order of their first coming."""
        found = list(self.records.values())
        return [one["record"]["n"] for one in found if one["log"] == log]


def handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            collector.asked += 1
            if self.headers["authorization"] != f"Bearer {TOKEN}":
                collector.wrong_tokens += 1
                self.answer(401, b"{}")
            elif collector.mode.isdigit():
                self.answer(int(collector.mode), b"{}")
            elif collector.mode == "portal":
                self.answer(200, b"<html>Welcome</html>")
            else:
                accepted = collector.take(content)
                if collector.mode == "ok":
                    self.answer(200, json.dumps({"accepted": accepted}).encode())
                self.close_connection = True

        def answer(self, status: int, text: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
