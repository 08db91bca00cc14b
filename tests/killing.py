"""`dvc repro` begun, watched and killed in a copied-out folder: what the kill tests share."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml
from copied import App, edit

STAGES = ("ingest", "validate", "prepare", "train", "evaluate")


def copy(app: App, folder: Path, *forgotten: str) -> App:
    """A copy of the folder, of which DVC knows no `forgotten` stage and no earlier run."""
    shutil.copytree(app.folder, folder, symlinks=True)
    shutil.rmtree(folder / ".dvc/cache/runs", ignore_errors=True)

    def forget(document: dict[str, Any]) -> None:
        for stage in forgotten:
            del document["stages"][stage]

    edit(folder / "dvc.lock", forget)
    return App(folder, app.environment)


def results(app: App, *stages: str) -> dict[str, Any]:
    """What DVC recorded of these stages, every output's hash among it, and the metrics."""
    recorded = yaml.safe_load((app.folder / "dvc.lock").read_text())["stages"]
    found = {name: recorded[name] for name in stages or STAGES}
    return found if stages else found | {"metrics": (app.folder / "metrics.json").read_text()}


def begin(app: App, *arguments: str) -> psutil.Popen:
    """`dvc repro` with a process group of its own; what it says goes to `said`."""
    mend(app)
    with app.folder.with_suffix(".log").open("w") as output:
        return psutil.Popen(
            ["dvc", "repro", *arguments],
            cwd=app.folder,
            env=app.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def mend(app: App) -> None:
    """What the README says about a kill that hit DVC while it wrote its own lock file in place."""
    lock = app.folder / ".dvc/tmp/rwlock"
    try:
        json.loads(lock.read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        lock.unlink()


def said(app: App) -> str:
    return app.folder.with_suffix(".log").read_text()


def wait_for(condition: Callable[[], Any], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for_stage(app: App, process: psutil.Popen, stage: str) -> None:
    """Until `dvc repro` came to this stage, or beyond."""
    lines = [f"Running stage '{name}'" for name in STAGES[STAGES.index(stage) :]]
    wait_for(lambda: any(line in said(app) for line in lines) or process.poll() is not None)


def kill(process: psutil.Popen) -> bool:
    """End the whole process group without warning; False if it had ended already."""
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return alive
