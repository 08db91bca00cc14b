"""live/work/: a copy of the blueprint in which a retraining runs, so what is served stays as it is.

live/ is a DVC project without git, since git and DVC ignore it in the blueprint. Its cache is the
blueprint's, so that nothing is stored twice and what has not changed is not run again.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from shared import objectives, params, registry, tracking

DYING_S = 5.0
DVC = Path(sys.executable).with_name("dvc")
CONFIG = """[core]
    no_scm = true
    analytics = false
    check_update = false
[cache]
    dir = {cache}
"""
# Of live/: what others write meanwhile.
IGNORED = "/models\n/logs\n/compiled\n/prometheus\n/alertmanager\n/mlruns\n"


def workspace(live: Path) -> Path:
    """live/work/ with the blueprint's scripts and parameters of today, ready for `dvc repro`.

    At first with the results of the blueprint's pipeline, later with those of the last retraining,
    so that an interrupted one goes on where it was. MLflow's store is the blueprint's own.
    """
    folder, work = live.resolve().parent, live.resolve() / "work"
    project(live)
    work.mkdir(exist_ok=True)
    results = _in_git(folder)
    for path in work.glob("*.py"):
        if not (folder / path.name).exists():
            path.unlink()
    for path in folder.iterdir():
        if path.is_file() and _is_own(path.name) and path.name not in results:
            shutil.copy2(path, work / path.name)
    link(work / "shared", Path(__file__).resolve().parent)  # stages import it from beside them
    if not (work / "dvc.lock").exists():
        for name in [*results, "dvc.lock"]:
            if (folder / name).exists():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / name, work / name)
        dvc(work, "checkout", "dvc.yaml")  # what the cache lacks, a stage makes again
    tracking.tolerant(lambda: _experiment(folder))
    return work


def link(place: Path, goal: Path) -> None:
    """A symbolic link; one that a copied or moved folder brought from elsewhere is replaced."""
    if not place.is_symlink() or place.readlink() != goal:
        place.unlink(missing_ok=True)
        place.symlink_to(goal)


def project(live: Path) -> None:
    """Make live/ a DVC project, and mend it: a kill may have torn its locks, and a copied or moved
    one names the cache of where it was."""
    config = live / ".dvc/config"
    done = dvc(live.resolve().parent, "cache", "dir")
    cache = Path(live.resolve().parent, done.stdout.strip().splitlines()[-1])
    mend(live / ".dvc/tmp/rwlock")
    text = CONFIG.format(cache=cache)
    if config.exists() and config.read_text(encoding="utf-8") == text:
        return
    config.parent.mkdir(parents=True, exist_ok=True)
    (live / ".dvcignore").write_text(IGNORED, encoding="utf-8")
    with params.atomic(config) as draft:
        draft.write_text(text, encoding="utf-8")


def mend(lock: Path) -> None:
    """Remove DVC's file of locks where a kill tore it, or where no holder of a lock lives.

    DVC itself takes a killed process for alive as long as nobody has waited for it. A process with
    much memory takes a moment to die, so one that lives is looked at again for `DYING_S` seconds.
    """
    try:
        held = json.loads(lock.read_text(encoding="utf-8"))
        parts = [part for kind in ("read", "write") for part in held[kind].values()]
        holders = [one for part in parts for one in (part if isinstance(part, list) else [part])]
        pids = [int(one["pid"]) for one in holders]
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError, AttributeError):
        pids = []
    deadline = time.monotonic() + DYING_S
    while (lives := any(map(_lives, pids))) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not lives:
        lock.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A DVC command in `folder`, with what it said."""
    command = [str(DVC), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def environment() -> dict[str, str]:
    """A timer or a service knows no virtual environment; stages call this one's `python`.

    Threads that wait for each other must not spin while a service needs the processor.
    """
    path = f"{DVC.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return dict(os.environ) | {"PATH": path, "OMP_WAIT_POLICY": "passive"}


def _is_own(name: str) -> bool:
    """Is a file in the blueprint's folder one that a person wrote?"""
    kept = name == ".dvcignore" or not name.startswith(".")
    return kept and name != "dvc.lock" and not name.startswith("mlflow.db")


def _in_git(folder: Path) -> list[str]:
    """Results that lie in git and so not in DVC's cache."""
    stages: Any = params.load_yaml(folder / "dvc.yaml")["stages"]
    kinds = ("outs", "metrics", "plots")
    outs = [out for stage in stages.values() for kind in kinds for out in stage.get(kind, [])]
    given = [out.items() for out in outs if isinstance(out, dict)]
    return [name for out in given for name, options in out if options.get("cache") is False]


def _experiment(folder: Path) -> str:
    """A new experiment would keep its artifacts in the workspace; so it is made beside the store.

    Gives the store's address.
    """
    uri, name = registry.store_of(folder), objectives.load(folder / "objectives.yaml").name
    store = tracking.client()
    if uri.startswith("sqlite:///") and store.get_experiment_by_name(name) is None:
        place = Path(uri.removeprefix("sqlite:///")).parent / "mlruns" / name
        store.create_experiment(name, artifact_location=str(place))
    return uri
