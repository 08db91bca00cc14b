"""Image files of every kind become pixels, or are refused with the reason."""

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import predictor
import pytest
from PIL import Image
from predictor import BadInput, decode, read

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def encoded(image: Image.Image, kind: str, **given: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **given)
    return buffer.getvalue()


def frames(kind: str) -> bytes:
    others = [Image.new("RGB", PICTURE.size, "red")]
    return encoded(PICTURE, kind, save_all=True, append_images=others)


def header(side: int) -> bytes:
    """A PNG that claims this side and has no pixels."""
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    return content


def many_frames(count: int) -> bytes:
    """A TIFF with so many directories of one 1x1 picture."""
    content = bytearray(b"II*\0" + struct.pack("<I", 8))
    entries = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (273, 4, 1, 0)]
    for i in range(count):
        following = 8 + 54 * (i + 1) if i + 1 < count else 0
        content += struct.pack("<H", len(entries))
        content += b"".join(struct.pack("<HHII", *entry) for entry in entries)
        content += struct.pack("<I", following)
    return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    assert (decode(encoded(PICTURE, kind)) == PIXELS).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("level", [0, 1, 255])
def test_of_sixteen_bits_the_upper_eight_are_taken(kind: str, level: int) -> None:
    values = np.array([[level << 8, (level << 8) + 255]], np.uint16)
    assert (decode(encoded(Image.fromarray(values), kind)) == level).all()


def test_palettes_bits_and_transparency_become_colours() -> None:
    palette = PICTURE.quantize(16)
    seen = np.asarray(palette.convert("RGB"))
    for transparency in (3, bytes(range(16))):
        assert (decode(encoded(palette, "PNG", transparency=transparency)) == seen).all()
    assert (decode(encoded(Image.new("1", (9, 9), 1), "PNG")) == 255).all()
    assert (decode(encoded(Image.new("LA", (9, 9), (7, 0)), "PNG")) == 7).all()
    clear = Image.new("RGBA", (9, 9), (7, 8, 9, 0))
    assert (decode(encoded(clear, "PNG")) == [7, 8, 9]).all()


def test_a_picture_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(PICTURE, "JPEG", exif=exif)).shape == (30, 20, 3)


def test_of_a_phones_jpeg_with_extras_the_picture_is_taken() -> None:
    assert (decode(frames("MPO")) == decode(encoded(PICTURE, "JPEG"))).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "not a readable"),
        (encoded(PICTURE, "PNG")[:200], "truncated"),
        (encoded(PICTURE, "JPEG")[:-200], "truncated"),
        (encoded(PICTURE.convert("CMYK"), "JPEG"), "colour mode CMYK"),
        (encoded(PICTURE.convert("LAB"), "TIFF"), "colour mode LAB"),
        (encoded(Image.new("F", (9, 9)), "TIFF"), "colour mode F"),
        (encoded(PICTURE, "GIF"), "not a readable"),
        (frames("TIFF"), "several frames"),
        (frames("PNG"), "several frames"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        decode(content)


def test_frames_are_not_counted() -> None:
    begin = time.monotonic()
    with pytest.raises(BadInput, match="several frames"):
        decode(many_frames(15_000))
    assert time.monotonic() - begin < 2, "counting them takes several seconds"


def test_too_many_pixels_are_refused_before_decoding() -> None:
    with pytest.raises(BadInput, match=r"has 30 x 20 pixels; the limit is 0\.0001 megapixels"):
        decode(encoded(PICTURE, "PNG"), max_megapixels=0.0001)
    with pytest.raises(BadInput, match="has 50000 x 50000 pixels; the limit is 25 megapixels"):
        decode(header(50_000))


def test_a_high_limit_is_not_undercut_by_the_decoders_own() -> None:
    with pytest.raises(BadInput, match="truncated"):
        decode(header(20_000), max_megapixels=500)


def test_only_files_of_a_possible_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"content")
    assert read(tmp_path / "a.png", 50) == b"content"
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(BadInput, match="too large for 50 megapixels"):
        read(tmp_path / "a.png", 50)
    with pytest.raises(BadInput, match="file: No such file"):
        read(tmp_path / "b.png", 50)


MEMORY = """
import io, resource, sys
from PIL import Image
from predictor import decode
buffer = io.BytesIO()
Image.new("RGB", (5000, 4800), "gray").save(buffer, sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(buffer.getvalue())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)
"""


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_picture_takes_no_more_memory_than_is_said(kind: str) -> None:
    """24 megapixels, of which making them took 96 MB already: no second and third copy beside."""
    folder = Path(predictor.__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, kind],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 24 * 10
