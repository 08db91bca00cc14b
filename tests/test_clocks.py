"""U5: a clock at 1970, at 2038 and set back by an hour: the log, and what is judged from it."""

import time
from pathlib import Path
from typing import Any

import pytest

from shared import requestlog
from shared.joining import Joined
from shared.requestlog import RequestLog


@pytest.fixture
def now() -> float:
    """The files that are written have the real time, whatever the log is told."""
    return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the time."""
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: float(seconds))


def logged(folder: Path, number: int, log: RequestLog | None = None) -> None:
    log = log or RequestLog(folder, "requests", 1, 30)
    assert log.write({"id": f"{number:040}", "model": "m", "i": number})


def flags(folder: Path) -> list[bool]:
    return [row.get("clock") == "unsynced" for row in requestlog.read(folder, "requests")]


@pytest.mark.parametrize("wrong", [0, 2**31 + 5])
def test_u5_what_a_clock_says_that_is_not_set_is_marked_and_kept_in_order(
    tmp_path: Path, clock: Any, now: float, wrong: float
) -> None:
    for number, seconds in enumerate([now, wrong, wrong + 9, now + 20]):
        clock(seconds)
        logged(tmp_path, number)  # each after a restart: a part of its own
    assert [row["i"] for row in requestlog.read(tmp_path, "requests")] == [0, 1, 2, 3]
    assert flags(tmp_path) == [False, True, True, False]


def test_u5_set_back_by_an_hour_it_is_believed_when_it_has_caught_up(
    tmp_path: Path, clock: Any, now: float
) -> None:
    log = RequestLog(tmp_path, "requests", 1, 30)
    for number, seconds in enumerate([now, now - 3600, now - 5, now + 1]):
        clock(seconds)
        logged(tmp_path, number, log)
    assert flags(tmp_path) == [False, True, False, False], "seconds are put right all the time"
    clock(now - 3000)
    logged(tmp_path, 4)  # after a restart
    assert flags(tmp_path)[4] and [r["i"] for r in requestlog.read(tmp_path, "requests")][4] == 4


def test_u5_windows_leave_out_what_is_marked_and_a_truth_still_finds_it(
    tmp_path: Path, clock: Any, now: float
) -> None:
    log = RequestLog(tmp_path / "logs", "requests", 1, 30)
    for number, seconds in enumerate([now, 0, now - 7200, now + 1]):
        clock(seconds)
        logged(tmp_path / "logs", number, log)
    joined = Joined(tmp_path / "monitor.db")
    assert joined.read(tmp_path / "logs") == 4
    joined.add_truths([(f"{number:040}", 1) for number in range(4)])
    assert joined.models(False) == joined.models(True) == ["m"]
    for labelled in (False, True):
        assert [row["i"] for _, row in joined.window(labelled, "m", 0, 9)] == [0, 3]
    assert joined.counts()["joined"] == 4 and joined.counts()["unknown"] == 0


def test_u5_a_clock_that_is_not_set_lets_nothing_go(tmp_path: Path, clock: Any) -> None:
    logged(tmp_path / "logs", 0)
    joined = Joined(tmp_path / "monitor.db")
    joined.read(tmp_path / "logs")
    clock(2**31 + 5)
    logged(tmp_path / "logs", 1)
    joined.read(tmp_path / "logs")
    assert len(flags(tmp_path / "logs")) == 2, "no part has expired"
    assert [row["i"] for _, row in joined.window(False, "m", 0, 9)] == [0]
