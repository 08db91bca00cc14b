"""The service under hostile and careless clients: goals S1, S3, S4, S13 and S14, on the Bento from its archive."""

import http.client
import io
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from copied import Server, post
from PIL import Image

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
