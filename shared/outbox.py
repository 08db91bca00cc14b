"""What of the request log was not sent yet, and how far it was: what forwarding.py remembers.

The state is one small file, replaced whole. A part of the log that went before it was sent is
counted by its records.
"""

import fcntl
import heapq
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from shared import lineage, params
from shared.requestlog import follow, written

LOGS = ("requests", "feedback")
KEEP_S = 30.0  # between two writes of counts alone, to spare the disk
BATCH_RECORDS, BATCH_BYTES = 500, 250_000
Found = tuple[str, int, dict[str, Any]]  # part, offset behind the record, record


class Part(BaseModel):
    """How far a file of the log was sent, and how far it was counted: bytes and records."""

    offset: int = 0
    sent: int = 0
    seen: int = 0
    records: int = 0


class State(BaseModel):
    """What is remembered over a restart."""

    sent: int = 0
    lost: int = 0
    parts: dict[str, Part] = Field(default_factory=dict)

    def part(self, name: str) -> Part:
        return self.parts.setdefault(name, Part())


class Outbox:
    """The logs in `folder`; one process has it at a time, others raise SystemExit.

    device: a name of its own, which makes the ids of its records unique.
    Raises OSError when the state cannot be written.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device, self.kept = folder, device, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.lock = folder / ".forwarded.json", (folder / ".forwarding.lock").open("a")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{folder}: another process forwards it already") from None
        self.unreadable = False  # then all is sent again
        self.state = self.remembered()
        self.remember()

    def look(self) -> None:
        """Count what is new, and what the log dropped before it was sent.

        Raises OSError when that cannot be remembered.
        """
        state, seen = self.state, {n: part.seen for n, part in self.state.parts.items()}
        for log in LOGS:
            for name, end, _ in follow(self.folder, log, seen):
                part = state.part(name)
                part.seen, part.records = end, part.records + 1
        gone = [name for name in state.parts if not (self.folder / name).exists()]
        for name in gone:
            part = state.parts.pop(name)
            state.lost += max(0, part.records - part.sent)
        if gone or time.monotonic() > self.kept + KEEP_S:
            self.remember()

    def batch(self) -> tuple[bytes, dict[str, tuple[int, int]]]:
        """The body of the next POST; for each part in it the offset behind it and its records."""
        offsets = {name: part.offset for name, part in self.state.parts.items()}
        last: dict[str, tuple[int, int]] = {}
        texts: list[bytes] = []
        size = 0
        for log, (name, end, record) in self.waiting(offsets):
            identity = f"{self.device}/{name}/{end}"
            text = written({"id": identity, "log": log, "record": record})
            size += len(text)
            if texts and size > BATCH_BYTES:
                break
            texts.append(text)
            last[name] = end, last.get(name, (0, 0))[1] + 1
            if len(texts) == BATCH_RECORDS:
                break
        head = written({"from": self.device, "lost": self.state.lost})[:-1]
        return head + b',"records":[' + b",".join(texts) + b"]}", last

    def waiting(self, offsets: dict[str, int]) -> Any:
        """(log, found) of what was not sent yet, oldest first; each log in its own order."""

        def named(log: str) -> Any:
            return ((log, found) for found in follow(self.folder, log, offsets))

        return heapq.merge(*map(named, LOGS), key=lambda one: one[1][2].get("time", 0))

    def delivered(self, last: dict[str, tuple[int, int]]) -> None:
        """Remember what `batch` gave as sent. Raises OSError when that cannot be written."""
        for name, (end, count) in last.items():
            part = self.state.part(name)
            part.offset, part.sent = end, part.sent + count
            self.state.sent += count
        self.remember()

    def remembered(self) -> State:
        """The state before a restart."""
        try:
            return State.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return State()
        except ValidationError:
            self.unreadable = True
            return State()

    def remember(self) -> None:
        """Keep the state, on the disk when this returns. Raises OSError."""
        with params.atomic(self.path) as draft:
            draft.write_text(self.state.model_dump_json(), encoding="utf-8")
            lineage.sync(draft)
        lineage.sync(self.folder)
        self.kept = time.monotonic()
