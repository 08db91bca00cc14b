"""The monitor's loop: windows once, verdicts beyond chance, /metrics, files, restarts."""

import csv
import json
import math
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import audit, lineage, monitoring, params
from shared.benchmark import free_port
from shared.drift import Estimate, share
from shared.requestlog import RequestLog


@pytest.fixture
def folder(tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    live = {"requirement": "R1", "when": "live", "then": "retrain"}
    windows = {"window": "20 labelled", "for": "2 of 3"}
    requests = {"window": "50 requests", "for": "2 of 3"}
    document["objectives"][0]["key_results"] += [
        {"id": "L1", "metric": "live.recall", "at_least": 0.8, **live, **windows},
        {"id": "L2", "metric": "live.input_drift", "at_most": 0.2, **live, **requests},
    ]
    (tmp_path / "objectives.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(folder: Path, number: int, model: str = "m", right: float = 1.0) -> None:
    """Requests with truths, of which the share `right` was decided well."""
    requests, feedback = (
        RequestLog(folder / "logs", name, 10, 9) for name in ("requests", "feedback")
    )
    begin = sum(1 for _ in monitoring.joining.requestlog.read(folder / "logs", "requests"))
    for i in range(begin, begin + number):
        requests.write({"id": f"{i}", "model": model, "right": (i % 10) < 10 * right, "drift": 0.1})
        feedback.write({"id": f"{i}", "truth": True})


def run(*arguments: str) -> monitoring.Watch:
    with monitoring.watch("", list(arguments)) as watch:
        for windows in watch.runs():
            for window in windows:
                if window.labelled:
                    hits = [row["right"] == row["truth"] for row in window.rows]
                    watch.record(window, {"live.recall": share(hits)})
                else:
                    drift = Estimate(max(row["drift"] for row in window.rows))
                    watch.record(window, {"live.input_drift": drift})
    return watch


def test_complete_windows_are_recorded_once_whatever_restarts(folder: Path) -> None:
    answered(folder, 59)
    assert [one["value"] for one in run().history("L1")] == [1.0, 1.0]
    assert [one["value"] for one in run().history("L1")] == [1.0, 1.0], "nothing twice"
    answered(folder, 1)
    assert len(run().history("L1")) == 3
    values = json.loads((folder / "live/values.json").read_text())
    assert values["L1"] == {"breached": False, "windows": 3} and values["live.input_drift"] == 0.1


def test_what_failed_is_in_a_window_and_measured_by_its_share_alone(
    folder: Path, document: dict[str, Any]
) -> None:
    """A model of which nothing is valid has windows, too."""
    valid = {"id": "L3", "metric": "live.valid_share", "at_least": 0.9, "requirement": "R1"}
    document["objectives"][0]["key_results"].append(
        valid | {"when": "live", "then": "ticket", "window": "50 requests", "for": "1 of 1"}
    )
    (folder / "objectives.yaml").write_text(yaml.safe_dump(document))
    log = RequestLog(folder / "logs", "requests", 10, 9)
    for i in range(150):
        failed = {"failed": 422} if i >= 50 and (i % 5 == 0 or i >= 100) else {"drift": 0.1}
        log.write({"id": f"{i}", "model": "m", **failed})
    with monitoring.watch("", []) as watch:
        for windows in watch.runs():
            sizes = []
            for window in windows:
                drift = [row["drift"] for row in window.rows]
                sizes.append(len(drift))
                watch.record(window, {"live.input_drift": Estimate(max(drift, default=math.nan))})
    assert sizes == [50, 40, 0]
    assert [one["value"] for one in watch.history("L3")] == [1.0, 0.8, 0.0]
    assert [one["missed"] for one in watch.history("L3")] == [0, 0, 1], "0.8 may be chance"
    assert [one["value"] for one in watch.history("L2")] == [0.1, 0.1, None]
    values = json.loads((folder / "live/values.json").read_text())
    assert values["L3"]["breached"] and values["live.valid_share"] == 0


def test_n_of_m_windows_of_the_model_that_serves_make_a_breach(folder: Path) -> None:
    answered(folder, 20)
    answered(folder, 20, right=0.3)
    (result,) = [one for one in run().results if one.id == "L1"]
    assert run().breached(result) is False, "one window is not two"
    answered(folder, 20, right=0.3)
    assert run().breached(result) is True
    answered(folder, 61, model="new")
    assert run().breached(result) is False, "the new model begins with a clean sheet"


def test_a_late_truth_of_the_model_before_is_no_evidence_against_the_one_that_serves(
    folder: Path,
) -> None:
    """A window of the old model may be complete long after the new one serves."""
    answered(folder, 50, right=0.3)
    answered(folder, 100, model="new")
    (result,) = [one for one in run().results if one.id == "L1"]
    assert run().breached(result) is False
    answered(folder, 10, right=0.3)
    watch = run()
    assert [one["model"] for one in watch.history("L1")][-1] == "m"
    assert [one["missed"] for one in watch.history("L1")][-1] == 1
    assert watch.breached(result) is False


def test_a_model_that_was_just_put_in_place_is_not_judged_by_the_one_before(folder: Path) -> None:
    """Where requests are few, most of the newest answers are the old one's for long."""
    answered(folder, 100, right=0.3)
    (result,) = [one for one in run().results if one.id == "L1"]
    assert run().breached(result) is True
    time.sleep(0.01)
    lineage.flip(folder / "live", "new", event="promoted", version="new")
    assert run().breached(result) is False, "nobody has asked it yet"
    answered(folder, 19, model="new")
    answered(folder, 20, right=0.3)  # late ones of a canary, or of a service that is slow to follow
    assert run().breached(result) is False
    answered(folder, 100, right=0.3)
    assert run().breached(result) is True, "the new one is refused, or not released: the old serves"


def test_windows_are_held_to_the_key_result_of_today(
    folder: Path, document: dict[str, Any]
) -> None:
    answered(folder, 60, right=0.5)
    (result,) = [one for one in run().results if one.id == "L1"]
    assert run().breached(result) is True
    (wanted,) = [one for one in document["objectives"][0]["key_results"] if one["id"] == "L1"]

    def now(**change: Any) -> tuple[int, Any]:
        wanted.update(change)
        (folder / "objectives.yaml").write_text(yaml.safe_dump(document))
        with monitoring.watch("", []) as watch:
            (changed,) = [one for one in watch.results if one.id == "L1"]
            return len(watch.history("L1")), watch.breached(changed)

    assert now(at_least=0.4) == (3, False), "a target that was too strict"
    assert now(at_least=0.8) == (3, True)
    assert now(metric="live.accuracy") == (0, None), "another metric's numbers are not its own"
    assert now(metric="live.recall", window="30 labelled") == (0, None)


def test_a_metric_whose_error_is_not_known_misses_nothing_and_the_page_is_written(
    folder: Path,
) -> None:
    answered(folder, 60)
    with monitoring.watch("", []) as watch:
        for windows in watch.runs():
            for window in windows:
                name = "live.recall" if window.labelled else "live.input_drift"
                watch.record(window, {name: Estimate(0.1, math.nan)})
    assert [one["value"] for one in watch.history("L1")] == [None] * 3
    assert (folder / "live/report.html").exists()


def test_a_truth_of_the_wrong_type_is_named_and_nothing_of_its_file_is_taken(
    folder: Path,
) -> None:
    answered(folder, 3)
    (folder / "labels.csv").write_text("request_id,truth\nr1,2.5\nr2,n/a\n")
    given = ["--feedback", "labels.csv"]
    with (
        pytest.raises(SystemExit, match=r"labels\.csv: r2: truth 'n/a' is no float"),
        monitoring.watch("", given, truth=float),
    ):
        pass
    assert run().joined.counts() == {"joined": 3, "duplicate": 0, "unknown": 0, "waiting": 0}
    (folder / "labels.csv").write_text("request_id,truth\nr1,2.5\n")
    with monitoring.watch("", given, truth=float) as watch:
        assert watch.joined.counts()["waiting"] == 1


def test_prometheus_reads_values_and_verdicts(folder: Path) -> None:
    answered(folder, 60, right=0.3)
    port = free_port()
    run("--port", str(port))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(found['live_metric{metric="live.recall"}']) == pytest.approx(0.3)
    assert float(found['live_key_result_breached{key_result="L1"}']) == 1
    assert float(found['live_key_result_windows_total{key_result="L1"}']) == 3
    assert float(found['monitor_feedback_total{outcome="joined"}']) == 60
    assert float(found["monitor_log_bytes"]) > 0
    assert float(found["monitor_last_run_timestamp_seconds"]) > 1.7e9
    assert float(found['monitor_memory_bytes{process="machine"}']) > 1e6


def test_the_page_shows_each_key_result_with_its_windows(folder: Path) -> None:
    answered(folder, 60, right=0.3)
    audit.append("alert", folder / "live", key_result="L1", value="<b>")
    run()
    page = (folder / "live/report.html").read_text()
    assert "<td>alert</td><td>key_result: L1, value: &lt;b&gt;</td>" in page
    assert page.count("<circle") == 4 and "missed, then: retrain" in page
    assert "http" not in page.replace("http-equiv", ""), "nothing is loaded from elsewhere"


def test_a_metric_that_a_key_result_needs_must_be_there(folder: Path) -> None:
    answered(folder, 20)
    told = r"L1: live\.recall is not measured over windows of '20 labelled', these are: live\.valid"
    with monitoring.watch("", []) as watch, pytest.raises(SystemExit, match=told):
        for windows in watch.runs():
            for window in windows:
                watch.record(window, {})


def test_the_queue_has_the_doubtful_and_the_drifted_in_turns(folder: Path) -> None:
    params.write_json(folder / "reports/reference.json", {"profile": {"x": {"edges": [0, 10]}}})
    params.write_json(folder / "export/model.json", {})
    log = RequestLog(folder / "logs", "requests", 10, 9)
    for name, x, doubt in [("a", 5, 0.1), ("b", 5, 0.9), ("c", 40, 0.2), ("d", 5, 0.8)]:
        log.write({"id": name, "model": "m", "x": x, "doubt": doubt})
    with monitoring.watch("", ["--queue", "3"]) as watch:
        for _ in watch.runs():
            watch.queue(lambda row: float(row["doubt"]))
    table = list(csv.DictReader((folder / "live/labelling.csv").open()))
    assert [row["request_id"] for row in table] == ["b", "c", "d"]
    assert [row["drift"] for row in table] == ["0.0000", "3.0000", "0.0000"]
