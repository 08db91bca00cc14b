"""The Bento from its archive under hostile and careless clients: goals S1, S3, S4, S13, S14."""

import contextlib
import http.client
import io
import json
import re
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from copied import App, Server, post, serving
from PIL import Image

from shared import benchmark, guards

pytestmark = pytest.mark.fault


def png(width: int, height: int) -> bytes:
    """Headers that claim this size, and no pixels."""
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", size), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    return content


def encoded(mode: str, kind: str, **given: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 50).convert(mode).save(buffer, kind, **given)
    return buffer.getvalue()


UNREADABLE = (415, "image", "is not a readable PNG, JPEG, TIFF, BMP file")
FRAMED = ("GIF", "PNG", "TIFF")
FRAMES = (400, "image", "has several frames; send one picture")
NO_TYPE = (415, "content-type", "'image/gif' is not one of application/json, image/bmp")
NO_BYTES = (400, "image", "Input should be a valid bytes")
NO_JSON = (400, "body", "Invalid JSON: ")


def hostile() -> dict[str, tuple[bytes, str, tuple[int, str, str]]]:
    """Bodies, their content type, and status, field and beginning of the reason of the refusal."""
    frames = [Image.new("L", (20, 20), value) for value in (10, 200)]
    animated = {kind: encoded("L", kind, save_all=True, append_images=frames) for kind in FRAMED}
    many = "has 50000 x 50000 pixels; the limit is 25 megapixels"
    mode, base64_only = "has colour mode CMYK; send gray or RGB", "Value error, is not base64"
    boundary = "multipart/form-data needs a boundary parameter"
    images: dict[str, Any] = {
        "empty": (b"", "image/png", (400, "image", "is empty")),
        "text": (b"hello", "image/png", UNREADABLE),
        "truncated": (encoded("RGB", "JPEG")[:3000], "image/jpeg", (400, "image", "is truncated")),
        "huge header": (png(50_000, 50_000), "image/png", (413, "image", many)),
        "100 MB": (bytes(100_000_000), "image/png", (413, "body", "larger than 10 MB")),
        "CMYK": (encoded("CMYK", "JPEG"), "image/jpeg", (400, "image", mode)),
        "animated": (animated["PNG"], "image/png", FRAMES),
        "pages": (animated["TIFF"], "image/tiff", FRAMES),
        "animated GIF": (animated["GIF"], "image/png", UNREADABLE),
        "animated and honest": (animated["GIF"], "image/gif", NO_TYPE),
        "no boundary": (b"x", "multipart/form-data", (400, "content-type", boundary)),
    }
    texts: dict[str, Any] = {
        "wrong JSON": (b'{"picture": 1}', (400, "image", "Field required")),
        "unknown field": (b'{"image": "", "x": 1}', (400, "x", "Extra inputs are not permitted")),
        "NaN": (b'{"image": NaN}', NO_BYTES),
        "infinite": (b'{"image": 1e999}', NO_BYTES),
        "null byte": (b'{"image": "\\u0000"}', (400, "image", base64_only)),
        "not JSON": (b"{", NO_JSON),
        "lone surrogate": (b'{"image": "\\ud800"}', NO_JSON),
        "deep": (b"[" * 100_000 + b"]" * 100_000, (400, "body", "Invalid JSON: recursion limit")),
        "not UTF-8": (b'{"image": "\xff"}', (400, "body", "Invalid JSON: invalid unicode")),
    }
    kind = "application/json"
    return images | {name: (body, kind, told) for name, (body, told) in texts.items()}


def memory(server: Server) -> float:
    """MB that the service's processes hold together."""
    processes = [server.process, *server.process.children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / 1e6


def good(server: Server) -> str:
    """The id of a good request's answer."""
    status, answer = post(server.url + "/classify", encoded("L", "PNG"), "image/png")
    assert status == 200, answer
    return answer["request_id"]


def logged(server: Server, start: int) -> list[str]:
    """The log from byte `start`, up to the line of a good request that is sent last."""
    last, deadline = good(server), time.monotonic() + 10
    while True:
        lines = server.log.read_bytes()[start:].decode().splitlines()
        if lines and last in lines[-1]:
            return lines[:-1]
        assert time.monotonic() < deadline, lines
        time.sleep(0.005)


def test_hostile_bodies_get_a_reason_one_short_line_and_cost_no_memory(server: Server) -> None:
    cases = hostile()
    for body, kind, _ in cases.values():  # the first of a kind loads decoders
        post(server.url + "/classify", body, kind)
    logged(server, 0)  # lines are written after their answers: until all of these are
    before, start = memory(server), server.log.stat().st_size
    for _ in range(3):
        for name, (body, kind, (code, field, reason)) in cases.items():
            status, answer = post(server.url + "/classify", body, kind)
            assert (status, answer["field"]) == (code, field), (name, answer)
            assert answer["error"].startswith(reason), (name, answer)
    lines = logged(server, start)
    assert len(lines) == 3 * len(cases) and max(len(line.encode()) for line in lines) <= 300
    assert good(server) and memory(server) - before < 20, "twice the limit of a body"


def test_bodies_beyond_the_limit_are_refused_however_they_are_sent(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    before = memory(server)

    def chunks() -> Iterator[bytes]:
        for _ in range(60):
            yield bytes(1_000_000)

    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request(
        "POST", "/classify", chunks(), {"content-type": "image/png"}, encode_chunked=True
    )
    assert connection.getresponse().status == 413
    for length in (b"10", b"1000000000"):  # less, then more than what follows
        with socket.create_connection((host, int(port))) as raw:
            head = (
                b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: "
            )
            raw.sendall(head + length + b"\r\n\r\n" + bytes(100))
    assert good(server) and memory(server) - before < 20


def test_a_thousand_generated_requests_meet_no_error_of_ours(server: Server) -> None:
    """Goal S1: what OpenAPI's description allows, and what it does not, in every field."""
    parameters = yaml.safe_load((Path(server.process.cwd()) / "src/params.yaml").read_text())
    timeout = str(parameters["service"]["timeout_s"])
    command = ["schemathesis", "run", server.url + "/docs.json", "--phases", "coverage,fuzzing"]
    command += ["--max-examples", "550", "--continue-on-failure", "--no-color", "--seed", "1"]
    command += ["--checks", "all", "--generation-database", "none", "--no-shrink"]
    # Not all base64 is a picture, and an empty list in a form is no field at all.
    command += ["--exclude-checks", "positive_data_acceptance,negative_data_rejection"]
    command += ["--max-response-time", timeout, "--request-timeout", timeout]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    generated = re.search(r"([0-9,]+) generated", done.stdout)
    assert generated and int(generated[1].replace(",", "")) >= 950, done.stdout[-1000:]
    assert good(server)


EVIL = '\r\n{"id": "forged"}\x1b[31m\u2028\U0001f600' * 20
DENSE = "\U0001f600\x1b" * 100  # each character takes six bytes of JSON or more
SAFE = "".join(char for char in EVIL if char not in "\r\n")  # as much as fits into a header


def form(name: str, value: str) -> bytes:
    """The only part of a form with the boundary `b`."""
    head = f'--b\r\ncontent-disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
    return f"{head}{value}\r\n--b--\r\n".encode()


def injections() -> dict[str, tuple[str, str, bytes, dict[str, str]]]:
    """(method, path, body, headers) with EVIL in each place that takes text."""
    kind = {"content-type": "application/json"}
    forms = {"content-type": "multipart/form-data; boundary=b"}
    coded = urllib.parse.quote(EVIL)
    found: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
        "path": ("GET", f"/info{coded}", b"", {}),
        "dense path": ("GET", "/" + urllib.parse.quote(DENSE), b"", {}),
        "dense field": ("POST", "/classify", json.dumps({DENSE: 1}).encode(), kind),
        "dense content type": ("POST", "/classify", b"{}", {"content-type": DENSE}),
        "path of a route": ("POST", f"/classify/{coded}", b"{}", kind),
        "query": ("GET", f"/info?{coded}={coded}", b"", {}),
        "query of a picture": ("POST", f"/classify?{coded}=1", b"x", {"content-type": "image/png"}),
        "method": ("A" * 1000, "/info", b"", {}),
        "content type": ("POST", "/classify", b"{}", {"content-type": SAFE}),
        "boundary": (
            "POST",
            "/classify",
            b"{}",
            {"content-type": f"multipart/form-data; boundary={SAFE}"},
        ),
        "no form": ("POST", "/classify", EVIL.encode(), forms),
        "JSON as form": ("POST", "/classify", b'{"id": "forged"}', forms),
        "unknown form field": ("POST", "/classify", form(SAFE, EVIL), forms),
    }
    for path, fields in (
        ("/classify", ("image", "heatmap")),
        ("/feedback", ("request_id", "truth")),
    ):
        for field in (*fields, EVIL):
            body = json.dumps({field: EVIL}).encode()
            found[f"{path} {field[:10]!r}"] = ("POST", path, body, kind)
        found[f"{path} bare"] = ("POST", path, EVIL.encode(), kind)
    for field in ("image", "heatmap"):
        found[f"form {field}"] = ("POST", "/classify", form(field, EVIL), forms)
    for header in ("authorization", "x-request-id", "user-agent", "traceparent", "cookie", "x"):
        found[f"header {header}"] = ("GET", "/info", b"", {header: SAFE})
    return found


def test_every_request_is_exactly_one_short_line_of_json_in_the_log(server: Server) -> None:
    """Goal S14: line ends, terminal codes and JSON in every text that a client may send."""
    host, port = server.url.removeprefix("http://").split(":")
    for name, (method, path, body, headers) in injections().items():
        start = server.log.stat().st_size
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        coded = {key: value.encode() for key, value in headers.items()}
        connection.request(method, path, body, coded)
        status = connection.getresponse().status
        connection.close()
        lines = logged(server, start)
        assert len(lines) == 1 and len(lines[0].encode()) <= 300, (name, lines)
        line = json.loads(lines[0])
        assert line["status"] == status and line["id"] != "forged" and lines[0].isascii(), name


def status_of(url: str, method: str = "GET", **headers: str) -> int:
    request = urllib.request.Request(url, b"{}" if method == "POST" else None, headers)
    request.method = method
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_token_covers_every_route_but_health(reproduced: App, tmp_path: Path) -> None:
    """Goal S13, on all that OpenAPI lists, BentoML's own pages, and paths that look like health."""
    token = "secret-canary"
    bearer = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    with serving(reproduced, tmp_path / "bento", SERVICE_TOKEN=token) as server:
        request = urllib.request.Request(server.url + "/docs.json", headers=bearer)
        with urllib.request.urlopen(request, timeout=30) as response:
            routes = set(json.loads(response.read())["paths"])
        assert {"/classify", "/feedback", "/info"} | guards.HEALTH <= routes
        routes |= {"/", "/metrics", "/docs.json", "/schema.json", "/static_content/index.css"}
        routes |= {
            "/none",
            "//livez",
            "/livez/",
            "/livez/../info",
            "/readyz/x",
            "/LIVEZ",
            "/info?/livez",
        }
        for path in sorted(routes - guards.HEALTH):
            for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"):
                assert status_of(server.url + path, method) == 401, f"{method} {path}"
            wrong = status_of(server.url + path, authorization="Bearer wrong")
            assert wrong == 401, path
        assert {path: status_of(server.url + path) for path in guards.HEALTH} == dict.fromkeys(
            guards.HEALTH, 200
        )
        assert status_of(server.url + "/info", **bearer) == 200
        assert token not in server.log.read_text()


def test_an_open_door_without_a_token_is_refused(
    reproduced: App, server: Server, tmp_path: Path
) -> None:
    """Goal S13: beyond loopback a service without SERVICE_TOKEN never gets ready and says why."""
    port, log = benchmark.free_port(), tmp_path / "log"
    environment = {
        key: value for key, value in reproduced.environment.items() if "SERVICE_" not in key
    }
    command = ["bentoml", "serve", server.process.cwd(), "--host", "0.0.0.0", "--port", str(port)]
    with log.open("w") as output:
        process = psutil.Popen(command, env=environment, stdout=output, stderr=output)
    health, deadline, ready = f"http://127.0.0.1:{port}/readyz", time.monotonic() + 120, False
    try:
        while log.read_text().count("without a token: set SERVICE_TOKEN") < 2:  # it was tried again
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            with contextlib.suppress(OSError):
                ready = ready or status_of(health) == 200
            time.sleep(0.1)
    finally:
        for one in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
    assert not ready
