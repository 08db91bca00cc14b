"""Training in several processes: really several, and with the loss of one."""

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
import yaml

pytestmark = pytest.mark.pipeline

CV = Path(__file__).parents[2] / "blueprints/cv"
# Python runs this file at the start of each process: those of a group leave their number.
NOTE = """
import os, pathlib
if os.environ.get("WORLD_SIZE") == "2":
    pathlib.Path(os.environ["RANKS"], os.environ["RANK"]).write_text(os.environ["LOCAL_WORLD_SIZE"])
"""
TWO = ["torchrun", "--standalone", "--nproc-per-node", "2"]  # on CPUs too: see ACCELERATE_USE_CPU


def prepared(folder: Path, **changed: Any) -> dict[str, str]:
    """Dark and bright noise as `prepare` leaves it, and parameters for a short run."""
    (folder / "data/prepared").mkdir(parents=True)
    generator, n = np.random.default_rng(0), 64
    bad = np.arange(n) % 2 == 0
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


def test_a_batch_larger_than_what_is_learned_from_is_named(tmp_path: Path) -> None:
    environment = prepared(tmp_path, batch_size=64)
    command = [sys.executable, str(CV / "train.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "train.batch_size: 64 is more than the 48 images to learn from" in done.stderr
