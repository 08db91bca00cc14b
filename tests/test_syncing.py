"""Power cuts: what was written is synced once a second, and no writer waits for it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared import syncing
from shared.requestlog import RequestLog
from shared.syncing import Disk


class Machine:
    """A disk that notes what is synced, and a clock that stands still until a second passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.works = threading.Event()
        self.synced: list[tuple[Path, int]] = []  # path, size
        self.asleep, self.seconds = threading.Semaphore(0), threading.Semaphore(0)
        self.works.set()
        self.breaks = False
        monkeypatch.setattr(syncing, "DISK", Disk(self.fsync, self.sleep))

    def fsync(self, descriptor: int) -> None:
        path, size = Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor).st_size
        self.synced.append((path, size))
        assert self.works.wait(30)
        if self.breaks:
            raise OSError(5, "Input/output error")

    def sleep(self, seconds: float) -> None:
        assert seconds == 1.0
        self.asleep.release()
        self.seconds.acquire()

    def rests(self) -> None:
        """Returns when a round is over."""
        assert self.asleep.acquire(timeout=30)

    def second(self) -> None:
        """Let one pass, and what it brings be done."""
        self.seconds.release()
        self.rests()

    def sizes(self, path: Path) -> list[int]:
        return [size for synced, size in self.synced if synced == path]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_records_are_synced_at_most_once_a_second_and_all_of_them(
    tmp_path: Path, machine: Machine
) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    log.write({"i": 0})
    machine.rests()
    (part,) = tmp_path.iterdir()
    for second in range(3):
        before = len(machine.synced)
        for i in range(100):
            log.write({"i": i})
        assert len(machine.synced) == before, "within a second there is no other"
        machine.second()
        assert machine.sizes(part)[-1] == part.stat().st_size
        assert len(machine.sizes(part)) <= second + 2


def test_what_is_written_while_the_disk_is_slow_does_not_wait_and_is_synced_next(
    tmp_path: Path, machine: Machine
) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    log.write({"i": 0})
    machine.rests()
    (part,) = tmp_path.iterdir()
    machine.works.clear()
    log.write({"i": 1})
    machine.seconds.release()
    until(lambda: len(machine.sizes(part)) > 0)
    begin = time.monotonic()
    for i in range(1000):
        assert log.write({"i": i})
    assert time.monotonic() - begin < 10, "the disk stands still all the time"
    machine.works.set()
    machine.rests()
    machine.second()
    assert machine.sizes(part)[-1] == part.stat().st_size


def test_a_part_that_is_full_is_synced_to_its_end_then_closed_and_the_names_of_all_are(
    tmp_path: Path, machine: Machine
) -> None:
    log = RequestLog(tmp_path, "requests", max_mb=0.01, keep_days=1)
    log.write({"i": 0})
    machine.rests()
    first, former = next(tmp_path.iterdir()), log.descriptor
    while log.descriptor == former:
        log.write({"i": "x" * 100})
    machine.second()
    assert machine.sizes(first)[-1] == first.stat().st_size
    (second,) = set(tmp_path.iterdir()) - {first}
    assert machine.sizes(second)[-1] == second.stat().st_size
    assert len(machine.sizes(tmp_path)) == 2, "of the folder, once for each part"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(former)


def test_without_records_nothing_is_synced(tmp_path: Path, machine: Machine) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    log.write({"i": 0})
    machine.rests()
    log.write({"i": 1})
    machine.second()
    before = len(machine.synced)
    machine.seconds.release()
    assert not machine.asleep.acquire(timeout=0.3)
    assert len(machine.synced) == before
    log.write({"i": 2})
    machine.rests()
    assert len(machine.synced) > before


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_disk_that_fails_stops_neither_thread_nor_writer(
    tmp_path: Path, machine: Machine
) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    machine.breaks = True
    assert log.write({"i": 0})
    machine.rests()
    machine.breaks = False
    assert log.write({"i": 1})
    machine.second()
    (part,) = tmp_path.iterdir()
    assert machine.sizes(part)[-1] == part.stat().st_size


def test_where_no_thread_can_begin_records_are_written_and_the_next_one_tries_again(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    log = RequestLog(tmp_path, "requests", 1, 1)
    with monkeypatch.context() as here:
        here.setattr(threading.Thread, "start", none_left)
        assert log.write({"i": 0}) and log.write({"i": 1})
    assert log.write({"i": 2})
    machine.rests()
    (part,) = tmp_path.iterdir()
    assert machine.sizes(part)[-1] == part.stat().st_size


def test_a_process_that_ends_has_synced_its_records(tmp_path: Path) -> None:
    code = f"""
import atexit, os
sizes = []
os.fsync = lambda descriptor: sizes.append(os.fstat(descriptor).st_size)
atexit.register(lambda: print(log.size in sizes))  # after those that are registered later
from shared.requestlog import RequestLog
log = RequestLog({str(tmp_path)!r}, "requests", 1, 1)
for i in range(100):
    log.write({{"i": i}})
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"
