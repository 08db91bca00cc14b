"""What Evidently shows of a log: real pages, a real workspace, its own server."""

import json
import os
import random
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from shared import joining, objectives, requestlog, snapshots
from shared.benchmark import free_port, running


def logged(folder: Path, number: int, shift: float = 0.0, **more: Any) -> None:
    """`number` answers in the log, of which the second half is shifted, and in monitor.db."""
    log, chance = requestlog.RequestLog(folder / "logs", "requests", 10, 1), random.Random(0)
    for i in range(number):
        level = chance.gauss(shift if i >= number // 2 else 0.0, 1)
        seen = {"level": level, "other": chance.gauss(0, 1), "empty": None}
        row = {"seen": seen, "parts": [chance.random()], "label": chance.choice(["a", "b"])}
        assert log.write({"id": f"{i:040}", "model": "m", "schema": 1, **row, **more})
    joining.Joined(folder / "live/monitor.db").read(folder / "logs")


def taken(folder: Path, count: int = 500) -> dict[str, bool]:
    """Column -> does Evidently find that it has changed?"""
    _, first, newest = snapshots.ends(folder / "live", count)
    found = snapshots.take(first, newest).dict()["tests"]
    name = "Value Drift for column "
    drift = {one["name"]: one["status"].value for one in found if one["name"].startswith(name)}
    return {column.removeprefix(name): status == "FAIL" for column, status in drift.items()}


def test_the_shifted_column_alone_has_changed(tmp_path: Path) -> None:
    logged(tmp_path, 400, shift=2.0)
    changed = {"seen.level": True, "seen.other": False, "parts.0": False, "label": False}
    assert taken(tmp_path) == changed


def test_both_parts_are_as_large_and_apart(tmp_path: Path) -> None:
    logged(tmp_path, 101)
    _, first, newest = snapshots.ends(tmp_path / "live", 500)
    ids = [row["id"] for row in (*first, *newest)]
    assert len(first) == len(newest) == 50 and len(set(ids)) == 100
    assert ids[0] == f"{0:040}" and ids[50] == f"{100:040}"


def test_what_did_not_end_in_an_answer_is_in_neither(tmp_path: Path) -> None:
    logged(tmp_path, 80, failed=504)
    with pytest.raises(SystemExit, match="0 answers of model m; needed: 60"):
        snapshots.ends(tmp_path / "live", 500)


def test_where_nothing_is_known_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no monitor\.db: run python monitor\.py first"):
        snapshots.ends(tmp_path, 500)


def test_without_the_package_it_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evidently", None)
    with pytest.raises(SystemExit, match="pip install evidently=="):
        snapshots.take([], [])


def test_the_server_of_evidently_shows_what_was_taken(tmp_path: Path) -> None:
    logged(tmp_path, 100)
    name = objectives.load(Path("blueprints/cv/objectives.yaml")).name
    shutil.copy("blueprints/cv/objectives.yaml", tmp_path)
    for _ in range(2):
        command = [sys.executable, "-m", "shared.snapshots", "--count", "40"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "40 newest answers of m beside the first ones -> live/evidently.html" in done.stdout
    assert "<html" in (tmp_path / "live/evidently.html").read_text()[:2000]
    port = free_port()
    serve = ["evidently", "ui", "--workspace", "live/evidently", "--port", str(port)]
    address, log = f"http://127.0.0.1:{port}", tmp_path / "ui.log"
    own: Any = {"cwd": tmp_path, "env": os.environ | {"DO_NOT_TRACK": "1"}}
    with running(serve, f"{address}/api/version", log, **own):
        with urllib.request.urlopen(f"{address}/api/projects") as answer:
            (project,) = json.load(answer)
        with urllib.request.urlopen(f"{address}/api/projects/{project['id']}/snapshots") as answer:
            found = json.load(answer)
    assert project["name"] == name and len(found) == 2
