"""A folder copied with MLflow's store in it goes on by itself, whatever becomes of the original."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from shared import moving, params, registry, tracking


def locations(folder: Path) -> set[str]:
    """Every path that the store names."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        return {
            str(row[0])
            for table, columns in moving.PATHS.items()
            for column in columns
            for row in store.execute(f"SELECT {column} FROM {table}")
        }


# MLflow keeps stores by their address, which is relative: a copy is opened by a process of its own.
OPENED = """
import json
from shared import tracking
store = tracking.client()
run_id = tracking.start("demo")
print(json.dumps({
    "model": store.get_model_version("demo", "1").source,
    "run": store.get_run(run_id).info.artifact_uri,
}))
"""


def test_a_copy_has_its_models_when_the_original_is_gone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params.write_json(folder / "reports/objectives.json", {"passed": True})
    assert registry.register() == "1"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    copy = tmp_path / "elsewhere/copy"
    shutil.copytree(folder, copy)
    shutil.rmtree(folder / "mlruns")
    (copy / ".run.json").unlink()
    opened = subprocess.check_output([sys.executable, "-c", OPENED], cwd=copy, text=True)
    named = json.loads(opened.splitlines()[-1])
    assert list(Path(named["model"]).iterdir()), "the model's files"
    assert all(place.startswith(f"{copy}/mlruns/") for place in locations(copy) | {named["run"]})


def test_a_store_without_its_files_is_left_alone(folder: Path, tmp_path: Path) -> None:
    assert tracking.start("demo")
    before, copy = locations(folder), tmp_path / "copy"
    copy.mkdir()
    shutil.copy2(folder / "mlflow.db", copy)
    moving.follow(copy / "mlflow.db")
    assert locations(copy) == before
