import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shared import requestlog
from shared.requestlog import RequestLog


def test_records_come_back_in_order_across_any_number_of_restarts(tmp_path: Path) -> None:
    for i in range(20):
        RequestLog(tmp_path, "requests", 1, 1).write({"i": i})
        RequestLog(tmp_path, "requests", 1, 1)  # who writes nothing leaves no file
    assert [row["i"] for row in requestlog.read(tmp_path, "requests")] == list(range(20))
    assert len(list(tmp_path.iterdir())) == 20


def test_expired_parts_go(tmp_path: Path) -> None:
    RequestLog(tmp_path, "requests", 1, 1).write({"old": 1})
    (old,) = tmp_path.iterdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    RequestLog(tmp_path, "requests", 1, 1).write({"new": 1})
    assert not old.exists()


def test_what_is_little_is_parted_by_time_so_that_none_is_kept_too_long(tmp_path: Path) -> None:
    """A part is kept until its last record is old; of a few a day, it would grow for years."""
    day = 1 / 86400  # a second
    log = RequestLog(tmp_path, "requests", 100, day)
    log.write({"i": 0})
    begin = time.monotonic()
    while time.monotonic() < begin + 2.5:
        time.sleep(0.05)
        assert log.write({"i": 1})
    kept = list(requestlog.read(tmp_path, "requests"))
    assert kept and all(row["i"] for row in kept), (
        "the first is more than twice as old as it may be"
    )
    assert len(list(tmp_path.iterdir())) <= 7


def test_a_worker_whose_part_made_room_for_another_writes_on(tmp_path: Path) -> None:
    idle, busy = (RequestLog(tmp_path, "requests", 0.01, 1) for _ in range(2))
    idle.write({"first": 1})
    for i in range(1000):
        busy.write({"i": i})
    assert not any("first" in row for row in requestlog.read(tmp_path, "requests"))
    assert idle.write({"last": 1})
    assert any("last" in row for row in requestlog.read(tmp_path, "requests"))


def written(folder: Path, records: int) -> tuple[Path, bytes, list[int]]:
    """The part of a log, its content, and where its lines end."""
    log = RequestLog(folder, "requests", 1, 1)
    for i in range(records):
        log.write({"i": i, "text": "two\nlines\u2028\u00e4"})
    (part,) = folder.iterdir()
    whole = part.read_bytes()
    return part, whole, [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]


def test_a_part_that_another_host_has_dropped_is_followed_by_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file removed elsewhere NFS says that its handle is stale."""
    log = RequestLog(tmp_path, "requests", 10, 30)
    assert log.write({"id": 1})

    def stale(descriptor: int) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as there:
        there.setattr(requestlog.os, "fstat", stale)
        assert log.write({"id": 2})
    assert [record["id"] for record in requestlog.read(tmp_path, "requests")] == [1, 2]
    assert len(list(tmp_path.glob("requests-*.jsonl"))) == 2


def test_a_log_cut_at_any_byte_gives_all_whole_records_and_is_appended_to(tmp_path: Path) -> None:
    part, whole, ends = written(tmp_path, 6)
    assert len(ends) == 6, "a record is one line whatever it holds"
    for cut in range(ends[2], len(whole) + 1):
        part.write_bytes(whole[:cut])
        numbers = list(range(sum(end <= cut for end in ends)))
        assert [row["i"] for row in requestlog.read(tmp_path, "requests")] == numbers
        assert RequestLog(tmp_path, "requests", 1, 1).write({"i": "next"})
        found = [row["i"] for row in requestlog.read(tmp_path, "requests")]
        assert found == [*numbers, "next"], "nothing is glued to a torn line"
        for other in set(tmp_path.iterdir()) - {part}:
            other.unlink()


def test_a_follower_reads_every_record_once_wherever_it_was_interrupted(tmp_path: Path) -> None:
    part, whole, ends = written(tmp_path, 4)
    for cut in range(len(whole) + 1):  # the writer is in the middle of a line
        part.write_bytes(whole[:cut])
        before = list(requestlog.follow(tmp_path, "requests", {}))
        offsets = {name: offset for name, offset, _ in before}
        assert offsets.get(part.name, 0) == max([end for end in ends if end <= cut], default=0)
        part.write_bytes(whole)
        after = list(requestlog.follow(tmp_path, "requests", offsets))
        assert [row["i"] for _, _, row in before + after] == [0, 1, 2, 3]
        assert list(requestlog.follow(tmp_path, "requests", {part.name: len(whole)})) == []


def test_a_follower_passes_torn_lines_and_parts_that_vanish(tmp_path: Path) -> None:
    part, whole, ends = written(tmp_path, 3)
    torn = b'{"i": 1, "te\n\n[1]\n\xff\n' + b"[" * 100_000 + b"\n"
    part.write_bytes(whole[: ends[0]] + torn + whole[ends[1] :])
    RequestLog(tmp_path, "requests", 1, 1).write({"i": 3})
    found = requestlog.follow(tmp_path, "requests", {"requests-of-yesterday.jsonl": 7})
    assert next(found)[2]["i"] == 0
    max(tmp_path.iterdir()).unlink()  # by retention, while it is read
    assert [row["i"] for _, _, row in found] == [2]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), object(), {1, 2}])
def test_what_is_no_json_is_dropped_and_never_raises(tmp_path: Path, value: Any) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    nested: Any = value
    for _ in range(3):
        nested = [nested]
    assert not log.write({"i": 0, "deep": nested})
    assert log.write({"i": 1})
    assert [row["i"] for row in requestlog.read(tmp_path, "requests")] == [1]


def test_a_disk_that_cannot_be_written_drops_and_never_raises(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    log.descriptor = os.open("/dev/full", os.O_WRONLY)
    assert not log.write({"i": 0})
    log.folder, log.size = tmp_path / "nowhere", 10**6  # no new part either
    assert not log.write({"i": 0})
    os.fstat(log.descriptor)  # still ours: a closed one might be somebody else's by now


@pytest.mark.fault
def test_a_disk_that_fills_within_a_line_leaves_no_half_of_it(tmp_path: Path) -> None:
    """The limit of a file's size is the full disk that needs no administrator."""
    code = f"""
import resource
from shared.requestlog import RequestLog
log = RequestLog({str(tmp_path)!r}, "requests", 1, 1)
log.write({{"i": 0}})
resource.setrlimit(resource.RLIMIT_FSIZE, (log.size + 20, resource.RLIM_INFINITY))
assert not log.write({{"i": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert log.write({{"i": 2}})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [row["i"] for row in requestlog.read(tmp_path, "requests")] == [0, 2]


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


def test_what_is_written_is_read_alike_whatever_it_holds(tmp_path: Path) -> None:
    records = [
        {"text": "caf\u00e9 \u2028 \U0001f600"},
        {"text": "\ud800"},
        {"number": 2**70},
        {"none": None},
    ]
    log = RequestLog(tmp_path, "requests", 1, 1)
    assert all(log.write(record) for record in records)
    found = list(requestlog.read(tmp_path, "requests"))
    assert [{k: v for k, v in one.items() if k != "time"} for one in found] == records
    assert not log.write({"number": float("nan")}), "a number that is none is no null"


def test_fields_that_were_written_before_join_a_record(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, "requests", 1, 1)
    assert log.write({"id": "a"}, requestlog.written({"mean": [1.5, 2.0], "text": "}{"}))
    (found,) = requestlog.read(tmp_path, "requests")
    assert found.keys() == {"time", "id", "mean", "text"}
    assert found["mean"] == [1.5, 2.0] and found["text"] == "}{" and found["id"] == "a"


@pytest.mark.long
def test_l4_a_million_records_stay_within_50_mb_and_the_newest_are_there(tmp_path: Path) -> None:
    log, most = RequestLog(tmp_path, "requests", max_mb=50, keep_days=1), 0
    for i in range(1_000_000):
        assert log.write({"i": i, "features": [0.25] * 20})
        if i % 500 == 0:
            most = max(most, sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert 45e6 < most <= 50e6
    rows = [row["i"] for row in requestlog.read(tmp_path, "requests")]
    assert rows == list(range(rows[0], 1_000_000)) and len(rows) > 200_000
