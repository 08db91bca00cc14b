import json
import multiprocessing
from pathlib import Path

import pytest

from shared import audit


def append_many(live: Path, name: str) -> None:
    for number in range(100):
        audit.append("step", live, incident=name, number=number, text="x" * 500)


def test_a_line_says_when_what_and_for_which_incident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(audit.FOLDER, str(tmp_path / "live"))
    monkeypatch.setenv(audit.INCIDENT, "i1")
    monkeypatch.setenv(audit.KEY_RESULT, "KR3")
    audit.append("reproduced", seconds=2.5)
    (line,) = audit.read(tmp_path / "live")
    assert line.pop("time") > 1.7e9
    assert line == {"event": "reproduced", "key_result": "KR3", "incident": "i1", "seconds": 2.5}


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=append_many, args=(tmp_path, name)) for name in ("a", "b", "c")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == 300
    for name in ("a", "b", "c"):
        assert [line["number"] for line in found if line["incident"] == name] == list(range(100))


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    audit.append("one", tmp_path)
    with (tmp_path / "audit.jsonl").open("a") as file:
        file.write('{"time": 1, "ev')
    audit.append("two", tmp_path)
    assert [line["event"] for line in audit.read(tmp_path)] == ["one", "two"]


def test_a_line_is_bounded_and_holds_numbers_only_that_are_numbers(tmp_path: Path) -> None:
    audit.append("failed", tmp_path, output="ü" * 10_000)
    assert (tmp_path / "audit.jsonl").stat().st_size < audit.LONGEST + 100
    with pytest.raises(ValueError, match="JSON"):
        audit.append("compared", tmp_path, gain=float("nan"))
    assert len(audit.read(tmp_path)) == 1


def test_the_newest_lines_are_read_without_the_rest(tmp_path: Path) -> None:
    append_many(tmp_path, "a")
    newest = audit.read(tmp_path, last_bytes=2000)
    assert [line["number"] for line in newest] == [97, 98, 99]
    assert audit.read(tmp_path / "none") == []
