"""L4: a log that has reached its limit drops the oldest or the new records, as it is set."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import shipped
from prometheus_client import REGISTRY

from shared import params, requestlog, serving
from shared.models import Models
from shared.requestlog import RequestLog, WhenFull

LIMIT = 10_000
BOTH = pytest.mark.parametrize("when_full", ["oldest", "reject"])


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is added to the time, which stands still: records of one kind have one length."""
    now, monotonic, passed = round(time.time()) + 0.125, time.monotonic(), [0.0]
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic + passed[0])
    return passed


def log(folder: Path, when_full: WhenFull) -> RequestLog:
    return RequestLog(folder, "requests", LIMIT / 1e6, 1, when_full)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def numbers(folder: Path) -> list[int]:
    return [row["i"] for row in requestlog.read(folder, "requests")]


@BOTH
@pytest.mark.parametrize("per_start", [1000, 30], ids=["one start", "many starts"])
def test_l4_the_limit_holds_and_old_or_new_records_are_dropped(
    tmp_path: Path, when_full: WhenFull, per_start: int
) -> None:
    written = []
    for i in range(1000):
        if i % per_start == 0:
            one = log(tmp_path, when_full)
        written.append(one.write({"i": i}))
        assert size(tmp_path) <= LIMIT
    found = numbers(tmp_path)
    if when_full == "oldest":
        assert all(written) and found == list(range(found[0], 1000)) and found[0] > 0
    else:
        assert written == [i < len(found) for i in range(1000)] and found == list(range(len(found)))
        assert size(tmp_path) > 0.99 * LIMIT


def filled(folder: Path) -> RequestLog:
    one = log(folder, "reject")
    while one.write({"i": 0}):
        pass
    return one


def test_that_new_records_are_dropped_is_said_once_with_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    one = filled(tmp_path)
    for _ in range(5):
        clock[0] += requestlog.LOOK_S
        assert not one.write({"i": 1})
    (line,) = capsys.readouterr().err.splitlines()
    error = json.loads(line)["error"]
    assert str(tmp_path) in error and "log_max_mb" in error and "log_when_full" in error


@pytest.mark.parametrize("how", ["removed", "expired"])
def test_once_a_part_has_gone_new_records_are_kept_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float], how: str
) -> None:
    one = filled(tmp_path)
    oldest = min(tmp_path.iterdir())
    if how == "removed":
        oldest.unlink()
    else:
        os.utime(oldest, (time.time() - 2 * 86400,) * 2)
    assert not one.write({"i": 1}), "it looks once a second"
    clock[0] += requestlog.LOOK_S
    assert one.write({"i": 1}) and numbers(tmp_path)[-1] == 1 and not oldest.exists()
    while one.write({"i": 2}):
        assert size(tmp_path) <= LIMIT
    assert len(capsys.readouterr().err.splitlines()) == 2, "full twice, said twice"


def test_a_record_that_does_not_fit_lets_smaller_ones_in_afterwards(
    tmp_path: Path, clock: list[float]
) -> None:
    one = log(tmp_path, "reject")
    assert not one.write({"i": "x" * LIMIT})
    clock[0] += requestlog.LOOK_S
    assert one.write({"i": 1}) and numbers(tmp_path) == [1]


@BOTH
def test_a_service_answers_on_and_counts_what_it_drops(
    tmp_path: Path, when_full: WhenFull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_LOG_FOLDER", str(tmp_path / "logs"))
    monkeypatch.setenv("SERVICE_LOG_WHEN_FULL", when_full)
    monkeypatch.setenv("SERVICE_LOG_MAX_MB", str(LIMIT / 1e6))
    params.write_json(tmp_path / "params.yaml", {"service": shipped.SERVICE_PARAMS})
    where = tmp_path / "params.yaml"
    config = params.read("service", serving.ServiceParams, where, prefix="SERVICE_")
    params.write_json(tmp_path / "provenance.json", {"name": "demo", "model_version": "v"})
    models: Models[Path] = Models(tmp_path, Path, lambda model: {}, lambda model: None)
    app = serving.application("demo", config, models, truth=Literal["yes", "no"])
    state = SimpleNamespace(request_id="r", begin=time.perf_counter())
    request: Any = SimpleNamespace(app=app, state=state)
    before = dropped()
    for i in range(500):
        serving.keep(request, models.now, {"i": i})
    lost = 500 - len(numbers(tmp_path / "logs"))
    assert lost > 0 and dropped() - before == (lost if when_full == "reject" else 0)


def dropped() -> float:
    return REGISTRY.get_sample_value("service_log_dropped_total") or 0.0
