"""Scores with three classes speak of the likeliest one everywhere, and intervals of parts."""

from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pandas as pd
import pytest

CLASSES = ["crack", "dirt", "fine"]
CONFIG = evaluate.EvaluateParams(min_recall=0.9, calibration_bins=10, mistakes_shown=0, seed=0)
FROZEN = {"accuracy": 0.5, "auc": 0.5}


def report(held: pd.DataFrame, probabilities: np.ndarray) -> dict[str, Any]:
    truth = held["label"].map(CLASSES.index).to_numpy()
    operating = {"threshold": 0.5, "temperature": 1.0}
    return evaluate.report(held, (probabilities, truth), operating, 0, FROZEN, CONFIG)


def test_a_subgroups_accuracy_is_that_of_the_likeliest_class() -> None:
    """All dirt is taken for fine, which is no crack either."""
    label = ["crack"] * 10 + ["dirt"] * 10 + ["fine"] * 10
    held = pd.DataFrame({"label": label, "subgroup": "x", "part": range(30), "split": "test"})
    held = pd.concat([held, held.assign(split="validation")], ignore_index=True)
    probabilities = np.eye(3)[held["label"].map({"crack": 0, "dirt": 2, "fine": 2})]
    found = report(held, probabilities)
    assert found["test"]["accuracy"] == pytest.approx(2 / 3)
    assert found["subgroup"]["x"] == {
        "images": 30,
        "accuracy": found["test"]["accuracy"],
        "auc": 1.0,
        "operating_recall": 1.0,
    }


def test_intervals_are_wider_where_images_share_a_part() -> None:
    held = pd.DataFrame({"label": ["crack", "fine"] * 60, "subgroup": "", "split": "test"})
    held["part"] = range(120)
    held = pd.concat([held, held.assign(split="validation")], ignore_index=True)
    right = np.arange(240) // 10 % 4 > 0  # ten photos of a part are all right or all wrong
    probabilities = np.eye(3)[np.where(right, held["label"].map(CLASSES.index), 1)]
    single = report(held, probabilities)["test"]
    whole = report(held.assign(part=held["part"] // 10), probabilities)["test"]
    for name in ("accuracy_interval", "auc_interval"):
        assert np.ptp(whole[name]) > 2 * np.ptp(single[name])
    assert whole["accuracy"] == single["accuracy"] == 0.75


def test_the_frozen_baseline_tells_all_classes_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cracks are bright, and nothing tells dirt from fine."""
    monkeypatch.chdir(tmp_path)
    Path("data/prepared").mkdir(parents=True)
    generator, number = np.random.default_rng(0), np.arange(90)
    light = np.where(number % 3 == 0, 150, 0)[:, None, None, None]
    noise = generator.integers(0, 100, (90, 1, 64, 64)) + light
    np.save("data/prepared/images.npy", noise.astype(np.uint8))
    table = pd.DataFrame({"label": np.array(CLASSES)[number % 3]})
    table["split"] = np.where(number < 45, "train", "test")
    found = evaluate.frozen_baseline(table, "crack", "squeezenet1_1")
    assert found["auc"] == 1.0 and 0.45 < found["accuracy"] < 0.9
