"""Curves that `dvc plots` can read, and the picture of the worst mistakes."""

from pathlib import Path
from types import SimpleNamespace

import figures
import numpy as np
import pandas as pd
import pytest
from model import build
from PIL import Image


@pytest.mark.parametrize("channels", [1, 3])
def test_curves_and_mistakes_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    Path("data/prepared").mkdir(parents=True)
    pixels = generator.integers(0, 256, (20, channels, 64, 64), dtype=np.uint8)
    np.save("data/prepared/images.npy", pixels)
    share = generator.random(20)
    probabilities = np.stack([share, 1 - share], axis=1)
    config = SimpleNamespace(calibration_bins=5, mistakes_shown=7)
    network, table = build("squeezenet1_1", 2).eval(), pd.DataFrame({"image": range(20)})
    truth = np.array([0, 1] * 10)
    figures.draw(network, table, probabilities, truth, ["bad", "good"], 0, config)
    confusion = pd.read_csv("plots/confusion.csv")
    assert confusion["actual"].tolist() == ["bad", "good"] * 10
    assert (confusion["predicted"] == np.where(share > 0.5, "bad", "good")).all()
    assert list(pd.read_csv("plots/roc.csv")) == ["false_positive_rate", "recall"]
    assert pd.read_csv("plots/calibration.csv")["images"].sum() == 20
    assert Image.open("plots/mistakes.png").width > 700, "six pictures in a row"
