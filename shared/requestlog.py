"""What a service remembers for monitoring: one whole JSON line per prediction, on bounded disk.

A line is one `write` call on an unbuffered file, so a kill loses nothing that was answered. No
answer waits until it is on the disk, which is about a second later: a power cut loses no more than
that, and may tear the last line, which readers skip. At a quarter of the limit a file is closed and
the oldest go, or new records are dropped: a disk that is full cannot be emptied by deleting, so the
limit holds beforehand.
A record whose time is not to be believed has "clock": "unsynced"; the order of records and parts is
that of writing, whatever the clock says.
"""

import contextlib
import errno
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import orjson

from shared import clocks, syncing

PARTS = 4
LOOK_S = 1.0  # whether a full log has room again
WhenFull = Literal["oldest", "reject"]
NUMBER = re.compile(r"-(\d+)-\d+\.jsonl$")


def parsed(text: bytes | str) -> Any:
    """What `written` wrote. Raises ValueError for what is no JSON."""
    with contextlib.suppress(ValueError):
        return orjson.loads(text)
    return json.loads(text)  # half a surrogate


def written(content: Any) -> bytes:
    """JSON in UTF-8. Raises ValueError for numbers that are none, which orjson writes as null."""
    with contextlib.suppress(TypeError):  # half a surrogate, a number of more than 64 bits
        if b"null" not in (found := orjson.dumps(content)):
            return found
    return json.dumps(content, allow_nan=False).encode()


class RequestLog:
    """Append-only log of one worker process in `folder`; at most `max_mb` MB and `keep_days` days.

    Of several workers each may be a quarter above it, in the part that it writes.
    when_full: drop the oldest records, or reject new ones until parts expire or are removed.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        max_mb: float,
        keep_days: float,
        when_full: WhenFull = "oldest",
    ) -> None:
        self.folder, self.name, self.when_full = Path(folder), name, when_full
        self.part_bytes, self.keep_seconds = int(max_mb * 1e6 / PARTS), keep_days * 86400
        # Of the present part; monotonic: until when it is full, and when the next one is begun.
        self.room, self.full_until, self.renewed = self.part_bytes, 0.0, float("inf")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock = clocks.Clock()
        self.descriptor, self.size = -1, 0  # opened for the first record: who only imports has none

    def write(self, record: dict[str, Any], more: bytes = b"{}") -> bool:
        """Append a record; False where that cannot be: a full disk or log, a number that is none.

        Never raises: what is recorded has been answered. more: further fields, as `written` made
        them, which takes most of the time.
        """
        now = time.monotonic()
        if now < self.full_until:
            return False
        try:
            if now > self.renewed or not self._is_open():
                self._open()
            line = written({**self.clock.stamp(), **record})
            line = (line if more == b"{}" else line[:-1] + b"," + more[1:]) + b"\n"
            if self.size + len(line) > self.room:
                self._open(len(line))
            size = os.write(self.descriptor, line)
            if size < len(line):  # the next line must not be glued to half of this one
                os.ftruncate(self.descriptor, self.size)
                return False
        except (OSError, ValueError, TypeError, RecursionError):
            return False
        self.size += size
        syncing.DISK.wrote(self.descriptor)
        return True

    def _is_open(self) -> bool:
        """Is there a part, and did no other worker drop it to make room?"""
        try:
            return self.descriptor >= 0 and os.fstat(self.descriptor).st_nlink > 0
        except OSError:  # what NFS says of a file that another host has dropped
            return False

    def _open(self, needed: int = 1) -> None:
        """A new part behind all others, named by time and order; old and surplus parts go.

        What is little is parted by time, so that no record is kept much longer than it may be.

        Raises OSError where there is no room for a record of the bytes that are needed.
        """
        sizes: dict[Path, int] = {}
        now, last = time.time(), 0
        for part in sorted(self.folder.glob(f"{self.name}-*.jsonl")):
            with contextlib.suppress(FileNotFoundError):  # another worker was first
                status = part.stat()
                sizes[part] = status.st_size
                self.clock.saw(status.st_mtime)
                found = NUMBER.search(part.name)
                last = max(last, int(found[1]) if found else 0)
                if clocks.believable(now) and now - status.st_mtime > self.keep_seconds:
                    part.unlink()
                    del sizes[part]
        room = self._make_room(sizes, needed)
        number = max(int(now * 1e9), last + 1)
        path = self.folder / f"{self.name}-{number:019}-{os.getpid()}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        former, self.descriptor, self.size = self.descriptor, descriptor, 0
        self.room, self.full_until = room, 0.0
        self.renewed = time.monotonic() + self.keep_seconds / PARTS
        if former >= 0:  # only now: a number that is closed may soon be a client's socket
            syncing.DISK.wrote(former, last=True)
        names = os.open(self.folder, os.O_RDONLY)  # the new part's is to be there, too
        syncing.DISK.wrote(names, last=True)

    def _make_room(self, sizes: dict[Path, int], needed: int) -> int:
        """The bytes that the next part may have."""
        if self.when_full == "reject":
            room = PARTS * self.part_bytes - sum(sizes.values())
            if room < needed:
                self._full()
            return min(room, self.part_bytes)
        for part in list(sizes):
            if sum(sizes.values()) <= (PARTS - 1) * self.part_bytes:
                break
            part.unlink(missing_ok=True)
            del sizes[part]
        return self.part_bytes

    def _full(self) -> NoReturn:
        """Say so, unless it was full before; raises OSError."""
        before, self.full_until = self.full_until, time.monotonic() + LOOK_S
        if not before:
            reached = f"{self.folder}: {self.name} have reached log_max_mb"
            reason = "new records are dropped (log_when_full: reject) until older parts are removed"
            line = {"time": round(time.time(), 3), "error": f"{reached}; {reason}"}
            sys.stderr.write(json.dumps(line) + "\n")
        raise OSError(errno.ENOSPC, "the log is full")


def follow(
    folder: str | Path, name: str, offsets: Mapping[str, int]
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Whole records, oldest part first: file name of the part, offset behind the record, record.

    offsets: how far parts, by file name, were read before, in bytes; others from their beginning.
    A last line without its end is not read yet; a torn one before it is skipped.
    """
    for part in sorted(Path(folder).glob(f"{name}-*.jsonl")):
        end = offsets.get(part.name, 0)
        with contextlib.suppress(FileNotFoundError), part.open("rb") as file:  # it was dropped
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                if (record := _record(line)) is not None:
                    yield part.name, end, record


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = parsed(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read(folder: str | Path, name: str) -> Iterator[dict[str, Any]]:
    """All whole records of all parts, oldest first; a torn line is skipped."""
    for _, _, record in follow(folder, name, {}):
        yield record


def shortened(text: str, size: int) -> str:
    """The longest beginning of `text` that takes at most `size` bytes in a line of JSON."""
    text = text[:size]
    while len(json.dumps(text)) - 2 > size:
        text = text[:-1]
    return text
