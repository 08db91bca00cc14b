"""A server that drops connections, forgets Range or changes its file; a device that is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared import fetching
from shared.audit import Failed, Refused

CONTENT = os.urandom(3_000_000)
TENTH = len(CONTENT) // 10


class Server(ThreadingHTTPServer):
    """Serves `content` under every path; a connection ends after `most` bytes."""

    content, most, ranges, tag, pause_s = CONTENT, TENTH, True, '"one"', 0.0
    refers_to = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent, self.asked = 0, []  # type: ignore[var-annotated]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/demo.bundle"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        own, begin = self.server, 0
        own.asked.append(dict(self.headers))
        if self.path == "/none":
            return self.send_error(404)
        if own.refers_to:
            self.send_response(302)
            self.send_header("location", own.refers_to)
            return self.end_headers()
        if own.ranges and self.headers.get("if-range") == own.tag:
            begin = int(self.headers["range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if begin else 200)
        self.send_header("content-length", str(len(own.content) - begin))
        self.send_header("etag", own.tag)
        self.end_headers()
        for at in range(begin, min(begin + own.most, len(own.content)), 50_000):
            part = own.content[at : min(at + 50_000, begin + own.most)]
            self.wfile.write(part)
            own.sent += len(part)
            time.sleep(own.pause_s)
        self.close_connection = True
        return None

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def test_u6_dropped_every_tenth_it_ends_with_hardly_a_byte_twice(
    server: Server, tmp_path: Path
) -> None:
    bundle = tmp_path / "demo.bundle"
    assert fetching.fetch(server.url, bundle, retry_s=0.01) == len(CONTENT)
    assert bundle.read_bytes() == CONTENT and server.sent <= 1.1 * len(CONTENT)
    assert len(server.asked) == 10 and [path.name for path in tmp_path.iterdir()] == [bundle.name]


def test_u6_a_killed_fetch_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.most, server.pause_s = len(CONTENT), 0.02
    bundle, part = tmp_path / "demo.bundle", tmp_path / ".demo.bundle.part"
    command = [sys.executable, "-m", "shared.updates", "fetch", server.url, str(bundle)]
    first = subprocess.Popen(command)
    while not part.exists() or part.stat().st_size < 3 * TENTH:
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not bundle.exists(), "what is not whole has no name"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"fetch: {bundle} has {len(CONTENT)} bytes\n")
    assert bundle.read_bytes() == CONTENT
    assert int(server.asked[1]["Range"].removeprefix("bytes=").removesuffix("-")) >= 3 * TENTH


def test_a_file_that_is_another_by_now_is_fetched_from_its_beginning(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TRIES", 1)
    server.most = 0
    bundle = tmp_path / "demo.bundle"
    with pytest.raises(Failed, match="1 tries in a row brought nothing: the connection ended"):
        fetching.fetch(server.url, bundle, retry_s=0.01)
    (tmp_path / ".demo.bundle.part").write_bytes(b"x" * 1000)
    server.most, server.tag = len(CONTENT), '"two"'
    fetching.fetch(server.url, bundle)
    assert bundle.read_bytes() == CONTENT


def test_a_server_without_range_that_drops_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TRIES", 2)
    server.ranges = False
    with pytest.raises(Failed, match="2 tries in a row brought nothing"):
        fetching.fetch(server.url, tmp_path / "b", retry_s=0.01)
    assert len(server.asked) == 3


def test_what_is_not_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="404"):
        fetching.fetch(server.url.replace("demo.bundle", "none"), tmp_path / "b")
    assert len(server.asked) == 1
    with pytest.raises(Failed, match="an address with http or https is needed"):
        fetching.fetch("file:///etc/passwd", tmp_path / "b")


def test_u7_without_space_for_two_of_it_no_byte_is_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Large(bytes):
        def __len__(self) -> int:
            return 1 << 50

    server.content = Large()
    with pytest.raises(Refused, match="MB of disk are needed"):
        fetching.fetch(server.url, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_token_is_sent_and_not_to_a_host_that_the_server_refers_to(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCH_TOKEN", "secret")
    with serving() as first:
        first.refers_to, server.most = server.url, len(CONTENT)
        fetching.fetch(first.url, tmp_path / "b")
    assert first.asked[0]["Authorization"] == "Bearer secret"
    assert "Authorization" not in server.asked[0]
    assert (tmp_path / "b").read_bytes() == CONTENT


def test_out_of_encryption_no_reference_is_followed() -> None:
    asked = urllib.request.Request("https://models.example/b")
    follow = fetching.Referred().redirect_request
    with pytest.raises(Failed, match=r"refers to http:.*, which is not encrypted"):
        follow(asked, None, 302, "Found", {}, "http://models.example/b")
    assert follow(asked, None, 302, "Found", {}, "https://other.example/b") is not None


@pytest.mark.parametrize("left", ["", "[1]", '{"url": '])
def test_a_description_that_a_power_cut_spoilt_costs_the_part_and_no_more(
    server: Server, tmp_path: Path, left: str
) -> None:
    server.most = len(CONTENT)
    (tmp_path / ".b.part").write_bytes(b"x" * 1000)
    (tmp_path / ".b.json").write_text(left)
    fetching.fetch(server.url, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == CONTENT
