"""`dvc repro` killed at any moment: the next one ends with the results of an undisturbed run. Goal P1."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from copied import App, edit, run

pytestmark = pytest.mark.fault


def results(folder: Path) -> dict[str, Any]:
    """What must not depend on kills: metrics, and the hashes of every output that holds no measured time."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    outputs = {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])}
    timed = ("export.json", "reports/objectives.json", "reports/objectives.md")
    kept = {path: digest for path, digest in outputs.items() if path not in timed}
    return kept | {"metrics": json.loads((folder / "metrics.json").read_text())}


def begin(app: App, *targets: str) -> psutil.Popen:
    return psutil.Popen(["dvc", "repro", *targets], cwd=app.folder, env=app.environment, start_new_session=True)


def wait_for(condition: Any, process: psutil.Popen) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(fresh: App) -> None:
    edit(fresh.folder / "params.yaml", lambda values: values["train"].update(epochs=3))
    process = begin(fresh, "evaluate")
    wait_for((fresh.folder / "checkpoint/epoch.safetensors").exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "goes on after epoch" in run(["dvc", "repro", "evaluate"], *fresh)
    resumed = results(fresh.folder)
    run(["dvc", "repro", "--single-item", "--force", "train"], *fresh)
    run(["dvc", "repro", "--single-item", "--force", "evaluate"], *fresh)
    assert resumed == results(fresh.folder)


def test_a_killed_prepare_is_done_again(fresh: App, reproduced: App) -> None:
    process = begin(fresh)
    wait_for(lambda: any((fresh.folder / "data").glob("prepared/.images*")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (fresh.folder / "data/prepared/images.npy").exists()
    run(["dvc", "repro"], *fresh)
    assert results(fresh.folder) == results(reproduced.folder)


def test_a_stage_left_running_by_a_kill_does_not_meet_its_successor(fresh: App, reproduced: App) -> None:
    """Only dvc is killed; its training goes on alone, and the next run waits for it."""
    process = begin(fresh, "evaluate")
    wait_for((fresh.folder / ".locks/train").exists, process)
    orphans = process.children(recursive=True)
    process.kill()
    process.wait()
    assert any(orphan.is_running() for orphan in orphans)
    assert "train: waits for a process that still runs this stage" in run(["dvc", "repro", "evaluate"], *fresh)
    ours, theirs = (results(folder) for folder in (fresh.folder, reproduced.folder))
    assert ours == {key: theirs[key] for key in ours}


def test_twenty_kills_at_random_moments_change_nothing(fresh: App, reproduced: App) -> None:
    generator = random.Random(0)
    kills = 0
    while kills < 20:
        process = begin(fresh)
        try:
            process.wait(timeout=generator.uniform(0.5, 9))
            (fresh.folder / "dvc.lock").unlink()  # it came through: again from nothing
            shutil.rmtree(fresh.folder / ".dvc/cache")
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    run(["dvc", "repro"], *fresh)
    assert results(fresh.folder) == results(reproduced.folder)
