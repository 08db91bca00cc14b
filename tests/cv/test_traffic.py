"""Held-out images as traffic: what is sent can be read, shifts do what they say."""

import base64
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import traffic
from PIL import Image

PIXELS = np.random.default_rng(0).integers(60, 250, (40, 50, 1), dtype=np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("gray", [True, False])
def test_a_picture_arrives_as_it_was(gray: bool) -> None:
    pixels = PIXELS if gray else PIXELS * np.array([1, 0, 1], np.uint8)
    content = base64.b64decode(traffic.encoded(pixels))
    found = Image.open(io.BytesIO(content))
    assert found.mode == ("L" if gray else "RGB")
    assert (np.asarray(found.convert("RGB")) == pixels).all()


def test_truths_are_the_labels_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes that are called 0 and 1 are text for the service, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/raw/images").mkdir(parents=True)
    (tmp_path / "data/prepared").mkdir()
    for name in ("000001", "000002"):
        Image.fromarray(PIXELS).save(tmp_path / "data/raw/images" / name, "PNG")
    rows = "image,label,split\n000001,0,test\n000002,1,test\n"
    (tmp_path / "data/prepared/samples.csv").write_text(rows)
    found = {item.truth for item in itertools.islice(traffic.items("none", 0), 4)}
    assert found == {"0", "1"}
    assert sorted(item.truth for item in traffic.items("none", 0, once=True)) == ["0", "1"]


def test_shifts_change_what_they_say_and_nothing_else() -> None:
    assert (traffic.SHIFTS["none"](PIXELS) == PIXELS).all()
    darker = traffic.SHIFTS["darker"](PIXELS)
    assert darker.mean() < 0.8 * PIXELS.mean() and darker.shape == PIXELS.shape
    misplaced = traffic.SHIFTS["misplaced"](PIXELS)
    assert (np.sort(misplaced, axis=None) == np.sort(PIXELS, axis=None)).all()
    assert (misplaced[:20] == PIXELS[20:]).all()
    blurred = traffic.SHIFTS["blurred"](PIXELS)
    assert blurred.std() < 0.6 * PIXELS.std()
    assert blurred.mean() == pytest.approx(PIXELS.mean(), rel=0.02)
