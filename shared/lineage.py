"""Which models were served: live/current names the present one, live/history.jsonl all changes.

`current` changes in one step, and the history follows it; so after a kill between the two, or when
a person wrote `current`, `settle` adds what the history lacks.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared import audit, intact, params
from shared.audit import Refused

KEPT = 5  # models; the one served and the one before it are always among them


def current(live: Path) -> str | None:
    """The name under live/models/ of the model that is served; None before the first one."""
    path = live / "current"
    return path.read_text(encoding="utf-8").strip() or None if path.exists() else None


def serving(live: Path) -> Path:
    """The export folder that is served; before the first deployment the one beside live/."""
    name = current(live)
    return live / "models" / name if name else live.resolve().parent / "export"


def before(live: Path) -> str | None:
    """The version that a rollback would serve."""
    found = [name for name in line(live) if (live / "models" / name).is_dir()]
    return next((name for name in reversed(found) if name != current(live)), None)


def history(live: Path) -> list[dict[str, Any]]:
    """Changes of the served model, oldest first: time, version, event.

    Events are `promoted` and `rolled_back`; the latter's version is the bad one, and `to` is what
    was served instead.
    """
    return audit.lines(live / "history.jsonl")


def line(live: Path) -> list[str]:
    """Versions in the order of promotion, without those rolled back; the last one is served."""
    found: list[str] = []
    for change in history(live):
        if change["event"] == "promoted":
            found.append(change["version"])
        else:
            found = [name for name in found if name != change["version"]]
    return found


def rolled_back(live: Path) -> set[str]:
    """The versions that were rolled back and not promoted by a person since."""
    newest = {change["version"]: change["event"] for change in history(live)}
    return {version for version, event in newest.items() if event == "rolled_back"}


def flip(live: Path, name: str, **change: str) -> None:
    """Serve live/models/<name> from now on and note the change; on the disk when this returns."""
    with params.atomic(live / "current") as draft:
        draft.write_text(f"{name}\n", encoding="utf-8")
        sync(draft)
    sync(live)
    _note(live, change)


def take_back(live: Path) -> tuple[str, str]:
    """Serve the version before the present one; gives the bad version and what is served then.

    Raises Refused where there is none, or not as it was put in place: the present one then stays.
    """
    bad, former = current(live), before(live)
    if bad is None or former is None:
        raise Refused(f"no model before {bad} is there to roll back to")
    if broken := intact.damaged(live / "models" / former):
        names = ", ".join(broken[:5])
        raise Refused(f"the model before, {former}, is damaged ({names}); put it in place anew")
    flip(live, former, event="rolled_back", version=bad, to=former)
    return bad, former


def settle(live: Path) -> None:
    """Let the history say what `current` says: a version further back there was rolled back to."""
    name, promoted = current(live), line(live)
    if name is None or promoted[-1:] == [name]:
        return
    if name in promoted:
        last = len(promoted) - promoted[::-1].index(name)
        for bad in dict.fromkeys(reversed(promoted[last:])):
            _note(live, {"event": "rolled_back", "version": bad, "to": name})
    else:
        _note(live, {"event": "promoted", "version": name})


@contextlib.contextmanager
def alone(live: Path) -> Iterator[None]:
    """Held while the served model changes: a person and a retraining may want it at once."""
    live.mkdir(parents=True, exist_ok=True)
    with (live / ".releasing.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed, by the end of the process too
        yield


def prune(live: Path) -> None:
    """Remove all but the newest KEPT models, and what a kill left behind."""
    folders = sorted((live / "models").glob("*"), key=lambda path: path.stat().st_mtime)
    whole = [path for path in folders if not path.name.startswith(".")]
    spare = [path for path in whole if path.name not in (current(live), before(live))]
    left = [path for path in folders if path.name.startswith(".")]
    for path in [*left, *spare[: max(0, len(whole) - KEPT)]]:
        shutil.rmtree(path, ignore_errors=True)


def _note(live: Path, change: dict[str, str]) -> None:
    audit.add_line(live / "history.jsonl", change)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
