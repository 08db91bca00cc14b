"""What was tried on a device: a line for each step of an update in live/updates.jsonl.

A line is on the disk before its step begins, so a kill leaves a trace of what it hit.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared import audit, lineage
from shared.audit import Refused
from shared.bundles import Manifest

TRIES = 3


def check(manifest: Manifest, live: Path, allow_downgrade: bool) -> None:
    """Is it newer than all that was switched to, and not given up?"""
    done = [one for one in remembered(live) if one["event"] != "refused"]
    highest = max((one["sequence"] for one in done if one["event"] == "switching"), default=0)
    if manifest.folder in lineage.rolled_back(live) and not allow_downgrade:
        raise Refused(f"{manifest.version} was rolled back before; --allow-downgrade installs it")
    again = any(one["folder"] == manifest.folder for one in done if one["sequence"] == highest)
    if not (manifest.sequence > highest or again or allow_downgrade):
        reason = f"sequence {manifest.sequence} is not above {highest}"
        raise Refused(f"{reason}; --allow-downgrade installs it")
    mine = [one for one in done if one["folder"] == manifest.folder]
    since = [index for index, one in enumerate(mine, 1) if one["event"] == "installed"]
    mine = mine[since[-1] if since else 0 :]
    if len([one for one in mine if one["event"] == "trying"]) >= TRIES:
        reasons = [one["reason"] for one in mine if one["event"] == "failed"]
        why = (reasons or ["it did not come to its end"])[-1]
        raise Refused(f"{manifest.version} was tried {TRIES} times and is given up: {why}")


def remembered(live: Path) -> list[dict[str, Any]]:
    """The steps, oldest first: time, event, sequence, folder; events are trying, failed, switching,
    repairing and installed, and refused, which has bundle and reason instead."""
    return audit.lines(live / "updates.jsonl")


def remember(live: Path, event: str, manifest: Manifest, **details: str) -> None:
    about = {"sequence": manifest.sequence, "folder": manifest.folder}
    audit.add_line(live / "updates.jsonl", {"event": event, **about, **details})
    begin(event)


@contextlib.contextmanager
def refusing(bundle: Path, live: Path) -> Iterator[None]:
    """Remember why a bundle is refused; once, if it is offered again and again."""
    try:
        yield
    except Refused as refused:
        line = {"event": "refused", "bundle": bundle.name, "reason": str(refused)}
        before = remembered(live)[-1:]
        if not before or any(before[0].get(name) != value for name, value in line.items()):
            audit.add_line(live / "updates.jsonl", line)
        raise


def begin(state: str) -> None:
    """Say to who watches what begins now."""
    sys.stderr.write(json.dumps({"update": state}) + "\n")
    sys.stderr.flush()
