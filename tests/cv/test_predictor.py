import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from predictor import BadInput, decode

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **given: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **given)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_give_the_same_pixels(kind: str) -> None:
    assert (decode(encoded(Image.fromarray(PIXELS), kind)) == PIXELS).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(kind: str) -> None:
    deep = Image.fromarray((PIXELS[:, :, 0].astype(np.uint16) << 8) + 7)
    assert (decode(encoded(deep, kind)) == PIXELS[:, :, :1]).all()


def test_a_picture_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(Image.fromarray(PIXELS), "JPEG", exif=exif)).shape == (30, 20, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "not a readable"),
        (encoded(Image.fromarray(PIXELS), "PNG")[:200], "truncated"),
        (encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG"), "colour mode CMYK"),
        (encoded(Image.fromarray(PIXELS), "GIF"), "not a readable"),
        (
            encoded(
                Image.new("L", (9, 9)),
                "TIFF",
                save_all=True,
                append_images=[Image.new("L", (9, 9), 9)],
            ),
            "several frames",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        decode(content)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    with pytest.raises(BadInput, match=r"limit is 0\.0001 megapixels"):
        decode(encoded(Image.fromarray(PIXELS), "PNG"), max_megapixels=0.0001)
