"""Stage `train` from its files to its files: in two processes, and no longer than it helps."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import base
import model
import pandas as pd
import pytest
import recorder
import torch
import train
import yaml

GENAI = Path(train.__file__).parent
# Python runs this file at the start of each process: those of a group leave their number.
NOTE = """
import os, pathlib
if os.environ.get("WORLD_SIZE") == "2":
    pathlib.Path(os.environ["RANKS"], os.environ["RANK"]).write_text(os.environ["LOCAL_WORLD_SIZE"])
"""
# What `accelerate launch` starts where there are several GPUs; on CPUs it starts one process.
LAUNCH = ["torchrun", "--standalone", "--nproc-per-node", "2"]
ONE = {"epochs": 1, "batch_size": 4}
TWO = {"epochs": 1, "batch_size": 2}  # of each process


def prepared(folder: Path, small: Path, apart: int = 0, **changed: Any) -> None:
    """Texts and answers as `prepare` leaves them, and parameters for a short run.

    apart: how far validation's answers are from those that are learnt.
    """
    (folder / "data/prepared").mkdir(parents=True)
    rows = [
        {"split": split, "prompt": [11, 12, 13 + i % 5], "answer": [20 + far + i % 5, 30 + far]}
        for split, number, far in (("train", 16, 0), ("validation", 8, apart))
        for i in range(number)
    ]
    pd.DataFrame(rows).to_parquet(folder / "data/prepared/examples.parquet", index=False)
    values = yaml.safe_load((GENAI / "params.yaml").read_text())
    values["model"] = {"base": str(small / "tiny"), "hub": False}
    values["train"] |= {"rank": 4, "threads": 1, "precision": "fp32", "accumulate": 1}
    values["train"] |= {"warmup_share": 0.0, **changed}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "objectives.yaml").write_text((GENAI / "objectives.yaml").read_text())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; nothing is tracked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recorder.tracking, "start", lambda name: None)
    return tmp_path


def losses(folder: Path) -> list[float]:
    return list(pd.read_csv(folder / "models/history.csv")["val_loss"])


def test_training_ends_when_it_gets_no_better(here: Path, small: Path) -> None:
    """Nothing is learnt, so that no epoch is better than the first."""
    prepared(here, small, epochs=9, patience=2, learning_rate=1e-30)
    train.main()
    assert len(losses(here)) == 3


def test_training_that_gets_better_goes_on_to_the_end(here: Path, small: Path) -> None:
    prepared(here, small, epochs=4, patience=1, learning_rate=0.003)
    train.main()
    found = losses(here)
    assert len(found) == 4 and found == sorted(found, reverse=True)
    assert not (here / "checkpoint").exists()


def test_what_is_kept_is_the_best_epoch(here: Path, small: Path) -> None:
    """What is learnt is wrong for validation, the more so the more is learnt."""
    prepared(here, small, apart=100, epochs=9, patience=2, learning_rate=0.1)
    train.main()
    found = losses(here)
    assert len(found) < 9 and min(found) < found[-1]
    network = model.tuned(base.load(small / "tiny"), here / "models/adapter")
    with torch.no_grad():
        kept = float(network(**train.collate(list(train.Examples("validation")))).loss)
    assert kept == pytest.approx(min(found), rel=1e-3)


@pytest.mark.pipeline
def test_two_processes_learn_what_one_learns(tmp_path: Path, small: Path) -> None:
    """One run in MLflow, one adapter."""
    for name, launch, changed in (("one", [sys.executable], ONE), ("two", LAUNCH, TWO)):
        folder = tmp_path / name
        prepared(folder, small, **changed)
        (folder / "sitecustomize.py").write_text(NOTE)
        (folder / "ranks").mkdir()
        own = {"PYTHONPATH": f"{folder}:{GENAI.parents[1]}", "RANKS": str(folder / "ranks")}
        own |= {"ACCELERATE_USE_CPU": "true"}
        own |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        command = [*launch, str(GENAI / "train.py")]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | own, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        ranks = {path.name for path in (folder / "ranks").iterdir()}
        assert ranks == ({"0", "1"} if name == "two" else set())
        assert done.stdout.count("train: epoch") == 1
        with sqlite3.connect(folder / "mlflow.db") as database:
            assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        assert (folder / "models/adapter/adapter_model.safetensors").stat().st_size > 1000
        assert not (folder / "checkpoint").exists()
    tables = [pd.read_csv(tmp_path / name / "models/history.csv") for name in ("one", "two")]
    for loss in ("train_loss", "val_loss"):
        one, two = (list(table[loss]) for table in tables)
        assert two == pytest.approx(one, rel=0.02), loss
