"""The loop: when it stops, what it weighs; in several processes, really several; in bf16."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import prepare
import pytest
import torch
import train
import yaml
from accelerate import Accelerator
from safetensors import safe_open

CV = Path(__file__).parents[2] / "blueprints/cv"
# Python runs this file at the start of each process: those of a group leave their number.
NOTE = """
import os, pathlib
if os.environ.get("WORLD_SIZE") == "2":
    pathlib.Path(os.environ["RANKS"], os.environ["RANK"]).write_text(os.environ["LOCAL_WORLD_SIZE"])
"""
TWO = ["torchrun", "--standalone", "--nproc-per-node", "2"]  # on CPUs too: see ACCELERATE_USE_CPU


def prepared(folder: Path, every: int = 2, **changed: Any) -> dict[str, str]:
    """Dark and bright noise as `prepare` leaves it, and parameters for a short run.

    every: one image of so many is dark and defective.
    """
    (folder / "data/prepared").mkdir(parents=True)
    generator, n = np.random.default_rng(0), 64
    bad = np.arange(n) % every == 0
    level = np.where(bad, 60, 160)[:, None, None, None]
    pixels = (generator.integers(0, 90, (n, 1, 64, 64)) + level).astype(np.uint8)
    np.save(folder / "data/prepared/images.npy", pixels)
    table = pd.DataFrame({name: [""] * n for name in prepare.SAMPLES}).assign(
        label=np.where(bad, "defective", "good"),
        probability=np.nan,
        split=["train"] * 48 + ["validation"] * 16,
        **dict.fromkeys(prepare.monitor.FEATURES, 0.0),
    )
    table.to_csv(folder / "data/prepared/samples.csv", index=False)
    parameters = yaml.safe_load((CV / "params.yaml").read_text())
    parameters["train"] |= {"epochs": 1, "batch_size": 16, "threads": 1, "jitter": 0, "dropout": 0}
    parameters["train"] |= {"flips": False, "turns": False, "averaged_turns": 1, "warmup_share": 0}
    parameters["train"] |= changed
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters))
    (folder / "objectives.yaml").write_text((CV / "objectives.yaml").read_text())
    (folder / "sitecustomize.py").write_text(NOTE)
    (folder / "ranks").mkdir()
    return os.environ | {
        "PYTHONPATH": f"{folder}:{CV}",
        "RANKS": str(folder / "ranks"),
        "ACCELERATE_USE_CPU": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder.parent}/mlflow.db",
    }


def losses(folder: Path, launcher: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Train, and read the only row of history.csv."""
    done = subprocess.run(
        [*launcher, str(CV / "train.py")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    with (folder / "models/history.csv").open() as file:
        (row,) = csv.DictReader(file)
    return {name: float(value) for name, value in row.items()}


@pytest.mark.pipeline
@pytest.mark.parametrize("changed", [{"frozen_blocks": 0}, {"frozen_blocks": 9}])
def test_two_processes_learn_what_one_learns(tmp_path: Path, changed: dict[str, int]) -> None:
    found = {}
    for name, launcher in (("one", [sys.executable]), ("two", TWO)):
        environment = prepared(tmp_path / name, **changed)
        found[name] = losses(tmp_path / name, launcher, environment)
        ranks = {path.name for path in (tmp_path / name / "ranks").iterdir()}
        assert ranks == ({"0", "1"} if name == "two" else set())
        assert (tmp_path / name / "models/model.safetensors").stat().st_size > 1_000_000
    for loss in ("train_loss", "val_loss"):
        assert found["two"][loss] == pytest.approx(found["one"][loss], rel=0.02), loss


@pytest.mark.pipeline
def test_a_batch_larger_than_what_is_learned_from_is_named(tmp_path: Path) -> None:
    environment = prepared(tmp_path, batch_size=64)
    command = [sys.executable, str(CV / "train.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "train.batch_size: 64 is more than the 48 images to learn from" in done.stderr


@pytest.mark.pipeline
def test_bf16_learns_nearly_what_fp32_learns_and_leaves_whole_numbers(tmp_path: Path) -> None:
    found, kinds = {}, {}
    for name in ("fp32", "bf16"):
        environment = prepared(tmp_path / name, precision=name, frozen_blocks=0)
        found[name] = losses(tmp_path / name, [sys.executable], environment)
        with safe_open(tmp_path / name / "models/model.safetensors", "pt") as file:
            kinds[name] = {str(file.get_slice(key).get_dtype()) for key in file.keys()}  # noqa: SIM118
    assert found["bf16"] != found["fp32"], "the numbers are really shorter"
    for loss in ("train_loss", "val_loss"):
        assert found["bf16"][loss] == pytest.approx(found["fp32"][loss], rel=0.03), loss
    assert kinds == {"fp32": {"F32"}, "bf16": {"F32"}}


def fitted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, val_losses: list[float], **changed: Any
) -> tuple[dict[str, torch.Tensor], pd.DataFrame, list[torch.Tensor]]:
    """`fit` with these validation losses, the last bias set to the epoch's number in each, and the
    weights of the classes that each epoch got."""
    prepared(folder, epochs=len(val_losses), frozen_blocks=0, weights="none", **changed)
    monkeypatch.chdir(folder)
    given, weighed = iter(val_losses), []

    def learn(_accelerator: Any, parts: Any, *rest: Any) -> float:
        with torch.no_grad():
            parts[0].classifier[1].bias.fill_(float(len(weighed)))
        weighed.append(rest[2])
        return 0.0

    monkeypatch.setattr(train, "learn", learn)
    monkeypatch.setattr(train, "validate", lambda *_: {"val_loss": next(given)})
    monkeypatch.setattr(train.tracking, "start", lambda _: None)
    monkeypatch.setattr(train.tracking, "epoch", lambda *_: None)
    config = train.params.read("train", train.TrainParams)
    weights, history = train.fit(config, "defective", Accelerator(cpu=True))
    return weights, history, weighed


@pytest.mark.parametrize(
    ("patience", "epochs", "best"), [(1, 3, 1), (2, 4, 1), (3, 8, 4), (4, 9, 8)]
)
def test_training_stops_after_as_many_epochs_without_gain_and_keeps_the_best(
    patience: int, epochs: int, best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    val_losses = [1.0, 0.8, 0.9, 0.8, 0.7, 0.71, 0.72, 0.7, 0.6]
    weights, history, _ = fitted(tmp_path, monkeypatch, val_losses, patience=patience)
    assert history["val_loss"].tolist() == val_losses[:epochs]
    assert weights["classifier.1.bias"].tolist() == [best, best]


@pytest.mark.parametrize(("kind", "expected"), [("none", [1, 1]), ("balanced", [2, 2 / 3])])
def test_the_loss_weighs_classes_as_asked(
    kind: str, expected: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, weighed = fitted(tmp_path, monkeypatch, [1.0], every=4, class_weights=kind)
    assert weighed[0].tolist() == pytest.approx(expected)


def test_balanced_weights_make_classes_count_alike() -> None:
    targets = torch.eye(3)[[0] * 6 + [1] * 3 + [2]]
    weights = train.class_weights(targets, "balanced")
    assert (weights * targets).sum(0).tolist() == pytest.approx([10 / 3] * 3)
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(
        logits, targets.argmax(1), weights, reduction="sum"
    )
    torch.testing.assert_close(train.soft_cross_entropy(logits, targets, weights), expected / 10)
