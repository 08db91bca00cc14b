"""What a service remembers for monitoring: one whole JSON line per prediction, on bounded disk.

A line is one `write` call on an unbuffered file, so a kill loses nothing that was answered; a power
cut may tear the last line, which readers skip. At a quarter of the limit a file is closed and the
oldest of four is dropped: a disk that is full cannot be emptied by deleting, so the limit holds
beforehand.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTS = 4


class RequestLog:
    """Append-only log of one worker process in `folder`; at most `max_mb` MB and `keep_days` days.

    A full or read-only disk never fails a request: `dropped` counts what could not be written.
    """

    def __init__(self, folder: str | Path, name: str, max_mb: float, keep_days: float) -> None:
        self.folder, self.name, self.dropped = Path(folder), name, 0
        self.part_bytes, self.keep_seconds = int(max_mb * 1e6 / PARTS), keep_days * 86400
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def write(self, record: dict[str, Any]) -> None:
        stamped = {"time": round(time.time(), 3), **record}
        line = json.dumps(stamped, allow_nan=False).encode() + b"\n"
        try:
            if self.size + len(line) > self.part_bytes:
                os.close(self.descriptor)
                self._open()
            self.size += os.write(self.descriptor, line)
        except OSError:
            self.dropped += 1

    def _open(self) -> None:
        """A new part, named by time so that order survives restarts; old and surplus parts go."""
        parts = sorted(self.folder.glob(f"{self.name}-*.jsonl"))
        expired = [part for part in parts if time.time() - part.stat().st_mtime > self.keep_seconds]
        for part in {*expired, *parts[: max(0, len(parts) - PARTS + 1)]}:
            part.unlink(missing_ok=True)
        path = self.folder / f"{self.name}-{time.time_ns()}-{os.getpid()}.jsonl"
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.size = 0


def read(folder: str | Path, name: str) -> Iterator[dict[str, Any]]:
    """All whole records of all parts, oldest first; a torn line is skipped."""
    for part in sorted(Path(folder).glob(f"{name}-*.jsonl")):
        for line in part.read_bytes().split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record


def shortened(text: str, size: int) -> str:
    """The longest beginning of `text` that takes at most `size` bytes in a line of JSON."""
    text = text[:size]
    while len(json.dumps(text)) - 2 > size:
        text = text[:-1]
    return text
