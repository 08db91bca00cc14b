"""The service under hostile and careless clients: goals S1, S3, S4, S13 and S14, on the Bento from its archive."""

import http.client
import io
import json
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from copied import App, Server, post, serving
from PIL import Image

from shared import benchmark

pytestmark = pytest.mark.fault


def png(width: int, height: int) -> bytes:
    """A header that claims this size, and no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def encoded(mode: str, kind: str, **given: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 50).convert(mode).save(buffer, kind, **given)
    return buffer.getvalue()


def hostile() -> dict[str, tuple[bytes, str]]:
    frames = [Image.new("L", (20, 20), value) for value in (10, 200)]
    return {
        "empty": (b"", "image/png"),
        "text": (b"hello", "image/png"),
        "truncated": (encoded("RGB", "JPEG")[:3000], "image/jpeg"),
        "huge header": (png(50_000, 50_000), "image/png"),
        "100 MB": (bytes(100_000_000), "image/png"),
        "CMYK": (encoded("CMYK", "JPEG"), "image/jpeg"),
        "animated": (encoded("P", "GIF", save_all=True, append_images=frames), "image/png"),
        "wrong type": (b"GIF89a", "image/gif"),
        "no boundary": (b"x", "multipart/form-data"),
        "wrong JSON": (b'{"picture": 1}', "application/json"),
        "not JSON": (b"{", "application/json"),
        "NaN": (b'{"image": NaN}', "application/json"),
        "infinite": (b'{"image": 1e999}', "application/json"),
        "null byte": (b'{"image": "\\u0000"}', "application/json"),
        "lone surrogate": (b'{"image": "\\ud800"}', "application/json"),
        "deep": (b"[" * 100_000 + b"]" * 100_000, "application/json"),
        "not UTF-8": (b'{"image": "\xff"}', "application/json"),
    }


def memory(server: Server) -> float:
    """MB that the service's processes hold together."""
    processes = [server.process, *server.process.children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / 1e6


def lines_of(log: Path, start: int) -> list[str]:
    return log.read_bytes()[start:].decode().splitlines()


def alive(server: Server) -> bool:
    return post(server.url + "/classify", encoded("L", "PNG"), "image/png")[0] == 200


def test_hostile_bodies_get_a_reason_one_short_line_and_cost_no_memory(server: Server) -> None:
    cases = hostile()
    for body, kind in cases.values():  # the first of a kind loads decoders
        post(server.url + "/classify", body, kind)
    before, start = memory(server), server.log.stat().st_size
    for _ in range(3):
        for name, (body, kind) in cases.items():
            status, answer = post(server.url + "/classify", body, kind)
            assert 400 <= status < 500 and answer["error"] and answer["field"], name
    lines = lines_of(server.log, start)
    assert len(lines) == 3 * len(cases) and max(len(line.encode()) for line in lines) <= 300
    assert alive(server) and memory(server) - before < 20, "twice the limit of a body"


def test_bodies_beyond_the_limit_are_refused_however_they_are_sent(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    before = memory(server)

    def chunks() -> Iterator[bytes]:
        for _ in range(60):
            yield bytes(1_000_000)

    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("POST", "/classify", chunks(), {"content-type": "image/png"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    for length in (b"10", b"1000000000"):  # less, then more than what follows
        with socket.create_connection((host, int(port))) as raw:
            head = b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: "
            raw.sendall(head + length + b"\r\n\r\n" + bytes(100))
    assert alive(server) and memory(server) - before < 20


def test_a_thousand_generated_requests_meet_no_error_of_ours(server: Server) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", server.url + "/docs.json", "--no-color"]
    command += ["--phases", "coverage,fuzzing", "--max-examples", "550", "--continue-on-failure", "--checks", "all"]
    command += ["--exclude-checks", "positive_data_acceptance"]  # not every base64 text is a picture
    command += ["--generation-database", "none", "--request-timeout", "10", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    generated = re.search(r"([0-9]+) generated", done.stdout)
    assert generated and int(generated[1]) >= 1000, done.stdout[-1000:]


def test_every_request_is_exactly_one_line_of_json_in_the_log(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    evil = '\r\n{"id": "forged"}\x1b[31m\u2028'
    body = json.dumps({"image": evil, evil: 1}).encode()
    start = server.log.stat().st_size
    post(server.url + "/classify", body, "application/json")
    post(server.url + "/feedback", json.dumps({"request_id": evil, "truth": evil}).encode(), "application/json")
    head = "POST /classify%0d%0a{x}\x1b[31m HTTP/1.1\r\nhost: x\r\nx-request-id: a\x1b[31m\r\n"
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall((head + "content-length: 0\r\nconnection: close\r\n\r\n").encode())
        raw.recv(1000)
    lines = [json.loads(line) for line in lines_of(server.log, start)]
    assert len(lines) == 3 and "forged" not in {line["id"] for line in lines}


def test_the_token_covers_every_route_but_health(reproduced: App, tmp_path: Path) -> None:
    with serving(reproduced, tmp_path / "bento", SERVICE_TOKEN="secret-canary") as server:
        with urllib.request.urlopen(
            urllib.request.Request(server.url + "/docs.json", headers={"authorization": "Bearer secret-canary"})
        ) as response:
            routes = json.loads(response.read())["paths"]
        extra = {"/": ["get"], "/docs.json": ["get"], "/schema.json": ["get"], "/static_content/index.css": ["get"]}
        for path, methods in {**routes, **extra}.items():
            for method in methods:
                request = urllib.request.Request(server.url + path, method=method.upper())
                try:
                    status = urllib.request.urlopen(request).status
                except urllib.error.HTTPError as error:
                    status = error.code
                assert status == (200 if path in ("/livez", "/readyz", "/healthz") else 401), f"{method} {path}"
        assert "secret-canary" not in server.log.read_text()


def test_an_open_door_without_a_token_is_refused(reproduced: App, server: Server) -> None:
    """Beyond loopback a service without SERVICE_TOKEN does not start."""
    bento = server.process.cwd()
    command = ["bentoml", "serve", bento, "--host", "0.0.0.0", "--port", str(benchmark.free_port())]
    process = psutil.Popen(command, env=reproduced.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen, deadline = "", time.monotonic() + 60
    while "without a token" not in seen and time.monotonic() < deadline:
        seen += process.stdout.readline().decode()
    for child in [*process.children(recursive=True), process]:
        child.kill()
    assert "without a token: set SERVICE_TOKEN" in seen
