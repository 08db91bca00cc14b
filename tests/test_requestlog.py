import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared import requestlog
from shared.requestlog import RequestLog


def test_records_come_back_in_order_across_restarts(tmp_path: Path) -> None:
    for i in range(3):
        RequestLog(tmp_path, "requests", 1, 1).write({"i": i})
    assert [row["i"] for row in requestlog.read(tmp_path, "requests")] == [0, 1, 2]


def test_the_limit_holds_and_the_oldest_go(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, "requests", max_mb=0.01, keep_days=1)
    for i in range(1000):
        log.write({"i": i})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000
    assert list(requestlog.read(tmp_path, "requests"))[-1]["i"] == 999


def test_expired_parts_go(tmp_path: Path) -> None:
    RequestLog(tmp_path, "requests", 1, 1).write({"old": 1})
    (old,) = tmp_path.iterdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    RequestLog(tmp_path, "requests", 1, 1)
    assert not old.exists()


def test_a_file_cut_at_any_byte_gives_all_whole_records(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    for i in range(3):
        log.write({"i": i})
    (part,) = tmp_path.iterdir()
    whole = part.read_bytes()
    ends = [i for i, byte in enumerate(whole) if byte == ord("}")]
    for cut in range(len(whole) + 1):
        part.write_bytes(whole[:cut])
        found = [row["i"] for row in requestlog.read(tmp_path, "requests")]
        assert found == list(range(sum(end < cut for end in ends)))


def test_a_disk_that_cannot_be_written_counts_and_never_raises(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    os.close(log.descriptor)
    log.descriptor = os.open("/dev/full", os.O_WRONLY)
    log.write({"i": 0})
    assert log.dropped == 1


@pytest.mark.fault
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    code = f"""
from shared.requestlog import RequestLog
log = RequestLog({str(tmp_path)!r}, "requests", 100, 1)
for i in range(10**9):
    log.write({{"i": i}})
    print(i, flush=True)
"""
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    for _ in range(2000):
        worker.stdout.readline()
    worker.kill()
    acknowledged = 2000 + len(worker.stdout.read().splitlines())
    assert len(list(requestlog.read(tmp_path, "requests"))) >= acknowledged


@pytest.mark.parametrize("text", ["plain", "\U0001f600" * 100, "\x1b" * 100, "a" * 59 + "\u00e4"])
def test_what_is_shortened_fits_as_json(text: str) -> None:
    short = requestlog.shortened(text, 60)
    assert text.startswith(short) and len(json.dumps(short)) - 2 <= 60
