"""Requests and truths by id: late, twice, out of order, unknown; killed at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shared import joining
from shared.joining import Joined
from shared.requestlog import RequestLog


def logs(folder: Path) -> tuple[RequestLog, RequestLog]:
    return RequestLog(folder, "requests", 10, 30), RequestLog(folder, "feedback", 10, 30)


def truths(store: Joined, model: str = "m") -> list[tuple[str, Any]]:
    return [(row["id"], row["truth"]) for _, row in store.window(True, model, 0, 1000)]


def test_a_truth_finds_its_request_whichever_is_read_first(tmp_path: Path) -> None:
    requests, feedback = logs(tmp_path / "logs")
    store = Joined(tmp_path / "live/monitor.db")
    feedback.write({"id": "b", "truth": "good"})
    requests.write({"id": "a", "model": "m", "decision": "bad"})
    store.read(tmp_path / "logs")
    assert truths(store) == [] and store.counts()["waiting"] == 1
    requests.write({"id": "b", "model": "m"})
    feedback.write({"id": "a", "truth": {"any": [1, None]}})
    store.read(tmp_path / "logs")
    assert truths(store) == [("b", "good"), ("a", {"any": [1, None]})]
    assert store.window(True, "m", 1, 5)[0][1]["decision"] == "bad"


def test_the_first_truth_counts_and_others_are_counted(tmp_path: Path) -> None:
    requests, feedback = logs(tmp_path / "logs")
    store = Joined(tmp_path / "monitor.db")
    requests.write({"id": "a", "model": "m"})
    for truth in ["one", "two", "three"]:
        feedback.write({"id": "a", "truth": truth})
    store.read(tmp_path / "logs")
    feedback.write({"id": "a", "truth": "four"})
    store.read(tmp_path / "logs")
    assert truths(store) == [("a", "one")]
    assert store.counts() == {"joined": 1, "duplicate": 3, "unknown": 0, "waiting": 0}


def test_a_truth_without_request_is_unknown_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, feedback = logs(tmp_path / "logs")
    store = Joined(tmp_path / "monitor.db", keep_days=1)
    feedback.write({"id": "nobody", "truth": 1})
    feedback.write({"truth": "of nothing"})
    feedback.write({"id": 7, "truth": "of no text"})
    store.read(tmp_path / "logs")
    assert store.counts()["unknown"] == 0
    later = time.time() + 2 * 86400
    monkeypatch.setattr(joining.retention.time, "time", lambda: later)
    store.read(tmp_path / "logs")
    assert store.counts() == {"joined": 0, "duplicate": 0, "unknown": 1, "waiting": 0}


def test_rows_keep_the_order_of_arrival_when_the_clock_jumps(tmp_path: Path) -> None:
    requests, _ = logs(tmp_path / "logs")
    store = Joined(tmp_path / "monitor.db")
    for number, moment in enumerate([2e9, 0.0, 1.7e9]):
        requests.write({"id": str(number), "model": "m", "time": moment})
    store.read(tmp_path / "logs")
    assert [row["id"] for _, row in store.window(False, "m", 0, 9)] == ["0", "1", "2"]


def test_windows_are_of_one_model(tmp_path: Path) -> None:
    requests, _ = logs(tmp_path / "logs")
    store = Joined(tmp_path / "monitor.db")
    for number in range(10):
        requests.write({"id": str(number), "model": "new" if number % 3 == 2 else "old"})
    store.read(tmp_path / "logs")
    assert store.models(labelled=False) == ["old", "new"]
    assert [row["id"] for _, row in store.window(False, "new", 0, 9)] == ["2", "5", "8"]
    first = store.window(False, "old", 0, 2)
    assert [row["id"] for _, row in store.window(False, "old", first[-1][0], 2)] == ["3", "4"]


def test_what_waits_for_a_label_is_what_has_none(tmp_path: Path) -> None:
    requests, feedback = logs(tmp_path / "logs")
    store = Joined(tmp_path / "monitor.db")
    for name in "abc":
        requests.write({"id": name, "model": "m"})
    feedback.write({"id": "b", "truth": 1})
    store.read(tmp_path / "logs")
    assert [row["id"] for row in store.unlabelled(10)] == ["c", "a"]
    assert [row["id"] for row in store.newest(10)] == ["b"]


def test_only_answers_on_the_judged_route_are_judged_or_wait_for_a_label(tmp_path: Path) -> None:
    requests, feedback = logs(tmp_path / "logs")
    store = Joined(tmp_path / "monitor.db")
    requests.write({"id": "chat", "model": "m", "route": "/v1/chat/completions"})
    requests.write({"id": "failed", "model": "m", "failed": 422, "text": "a\ud800"})
    requests.write({"id": "good", "model": "m"})
    requests.write({"id": "better", "model": "m"})
    for name in ("chat", "failed", "good"):
        feedback.write({"id": name, "truth": 1})
    store.read(tmp_path / "logs")
    assert [row["id"] for _, row in store.window(False, "m", 0, 9)] == ["failed", "good", "better"]
    assert truths(store) == [("good", 1)]
    assert store.models(labelled=True) == ["m"] and store.counts()["joined"] == 3
    assert [row["id"] for row in store.newest(9)] == ["chat", "failed", "good"], "to learn from"
    assert [row["id"] for row in store.unlabelled(9)] == ["better"]
    for name in ("chat", "failed"):
        requests.write({"id": f"later {name}", "model": "m", name.replace("chat", "route"): 504})
    store.read(tmp_path / "logs")
    assert [row["id"] for row in store.unlabelled(9)] == ["better"]


READER = """
import sys
from pathlib import Path
from shared.joining import Joined
folder = Path(sys.argv[1])
store = Joined(folder / "monitor.db")
while True:
    store.read(folder / "logs")
"""


@pytest.mark.fault
def test_a_reader_killed_at_any_moment_counts_every_record_once(tmp_path: Path) -> None:
    requests, feedback = logs(tmp_path / "logs")
    number = 0
    for turn in range(20):
        reader = subprocess.Popen([sys.executable, "-c", READER, str(tmp_path)])
        end = time.monotonic() + 0.5 + 0.05 * turn
        while time.monotonic() < end:
            for _ in range(50):
                requests.write({"id": f"{number:09d}", "model": "m", "value": number})
                feedback.write({"id": f"{number:09d}", "truth": number})
                number += 1
            time.sleep(0.005)
        os.kill(reader.pid, signal.SIGKILL)
        reader.wait()
    store = Joined(tmp_path / "monitor.db")
    store.read(tmp_path / "logs")
    rows = [row for _, row in store.window(True, "m", 0, number + 1)]
    assert len(rows) == number and {row["id"] for row in rows} == {
        f"{i:09d}" for i in range(number)
    }
    assert all(row["truth"] == row["value"] for row in rows)
    assert store.counts() == {"joined": number, "duplicate": 0, "unknown": 0, "waiting": 0}
    assert json.dumps(rows[0])
