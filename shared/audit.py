"""What the live loop did: live/audit.jsonl, one whole line per step; and how a step may end.

The audit log is also the memory of the actions server, so a line is on the disk (fsync) before
anything follows from it. Several processes may append at once.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from shared.requestlog import shortened

LONGEST = 2000  # bytes of a text in a line
# What a process started for an incident finds in its environment; so do its children.
FOLDER, INCIDENT, KEY_RESULT = "LIVE_FOLDER", "LIVE_INCIDENT", "LIVE_KEY_RESULT"
SERVICE = "LIVE_SERVICE"


class Refused(SystemExit):
    """The champion stays and nothing is broken: the gate, or no proof of being better.

    Uncaught it ends the script with code 1 and the last line `refused: <reason>`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"refused: {reason}")


class Failed(SystemExit):
    """A step could not be done; the champion stays. The last line is then `failed: <reason>`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed: {reason}")


def folder() -> Path:
    """The folder `live/` of this process: the one it was started for, or the one beside it."""
    return Path(os.environ.get(FOLDER, "live"))


def append(event: str, live: Path | None = None, **details: Any) -> None:
    """Add a line to live/audit.jsonl: time, event, key result and incident, details.

    A script that the actions server started need name neither live, key result nor incident.
    Raises OSError when the line cannot be written, ValueError for NaN and infinity.
    """
    given = {"key_result": os.environ.get(KEY_RESULT), "incident": os.environ.get(INCIDENT)}
    named = {name: value for name, value in given.items() if value is not None}
    add_line((live or folder()) / "audit.jsonl", {"event": event, **named, **details})


def add_line(path: Path, record: dict[str, Any]) -> None:
    """Append the record with the present `time` as one line, on the disk when this returns."""
    bounded = {
        name: shortened(value, LONGEST) if isinstance(value, str) else value
        for name, value in {"time": round(time.time(), 3), **record}.items()
    }
    line = json.dumps(bounded, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # torn by a power cut
            line = b"\n" + line
        if os.write(descriptor, line) < len(line):
            raise OSError(f"{path}: the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(live: Path, last_bytes: int | None = None) -> list[dict[str, Any]]:
    """The lines of live/audit.jsonl, oldest first; of no more than `last_bytes` of its end."""
    return lines(live / "audit.jsonl", last_bytes)


def lines(path: Path, last_bytes: int | None = None) -> list[dict[str, Any]]:
    """The whole records of a file, oldest first; torn ones are skipped."""
    if not path.exists():
        return []
    records = []
    for line in tail(path, last_bytes).split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def tail(path: Path, last_bytes: int | None = None) -> bytes:
    """The end of a file, all of it without `last_bytes`."""
    with path.open("rb") as file:
        if last_bytes is not None:
            file.seek(max(0, path.stat().st_size - last_bytes))
        return file.read()
