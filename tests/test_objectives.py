import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import objectives, params, report


def results(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["objectives"][0]["key_results"]
    return found


BREAK = {
    "unknown key": lambda d: d.update(nonsense=1),
    "exactly one of at_least, at_most": lambda d: results(d)[0].update(at_most=1),
    "needs an action": lambda d: results(d)[1].pop("then"),
    "requirements without a key result": lambda d: results(d)[1].update(requirement="R1"),
    "unknown requirement": lambda d: results(d)[1].update(requirement="R9"),
    "ids used twice": lambda d: results(d)[1].update(id="KR1"),
    "nothing would gate": lambda d: results(d)[0].update(
        {"when": "live", "window": "10 requests", "for": "1 of 1", "then": "page"}
    ),
    "are of live key results": lambda d: results(d)[0].update(window="10 requests"),
    "and no window": lambda d: results(d)[1].update(window="10 requests"),
    "KR2: live.latency_p95_ms needs": lambda d: results(d)[1].update({"for": "2 of 3"}),
    "KR2: live.recall needs": lambda d: results(d)[1].update(metric="live.recall"),
    "KR2: live.drift needs": lambda d: results(d)[1].update(
        {"metric": "live.drift", "window": "10 images", "for": "1 of 2"}
    ),
}


@pytest.mark.parametrize("message", BREAK)
def test_an_inconsistent_file_is_refused(
    folder: Path, document: dict[str, Any], message: str
) -> None:
    broken = copy.deepcopy(document)
    BREAK[message](broken)
    (folder / "objectives.yaml").write_text(yaml.safe_dump(broken))
    with pytest.raises(SystemExit, match=message):
        objectives.load()


def of_live(window: str | None, hold: str) -> objectives.KeyResult:
    metric = "live.recall" if window else "live.error_share"
    given = {"id": "KR1", "requirement": "R1", "metric": metric, "at_least": 0.8, "when": "live"}
    return objectives.KeyResult.model_validate(
        given | {"window": window, "for": hold, "then": "page"}
    )


@pytest.mark.parametrize(
    "window", ["0 labelled", "-5 labelled", "5 Labelled", "five labelled", "5"]
)
def test_a_window_is_a_number_of_requests_or_labelled(window: str) -> None:
    with pytest.raises(ValueError, match=r"KR1: live.recall needs 'window"):
        of_live(window, "1 of 2")


@pytest.mark.parametrize("hold", ["3 of 2", "0 of 2", "1 from 2", "5m", "1 of 2 "])
def test_windows_are_counted_as_n_of_m(hold: str) -> None:
    with pytest.raises(ValueError, match="for: <n> of <m>"):
        of_live("10 labelled", hold)


@pytest.mark.parametrize("hold", ["0s", "5 m", "1d", "m", "1.5h"])
def test_a_duration_is_a_number_of_seconds_minutes_or_hours(hold: str) -> None:
    with pytest.raises(ValueError, match=r"for: <N>s\|m\|h"):
        of_live(None, hold)


def test_windows_and_durations_are_read() -> None:
    labelled, served = of_live("500 labelled", "3 of 5"), of_live("40 requests", "1 of 1")
    assert (labelled.count, labelled.labelled, labelled.n_of_m) == (500, True, (3, 5))
    assert (served.count, served.labelled, served.seconds) == (40, False, None)
    lasting = [of_live(None, hold) for hold in ("90s", "5m", "2h")]
    assert [result.seconds for result in lasting] == [90, 300, 7200]
    assert [result.count or result.labelled or result.n_of_m for result in lasting] == [None] * 3


def test_the_gate_passes_and_reports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.check(folder) == 0
    assert report.gate(folder) == 0
    page = (folder / "reports/objectives.md").read_text()
    assert "| KR1 | R1 | `test.auc` | >= 0.9 | 0.95 | pass | metrics.json |" in page
    assert "in production; on a miss: page" in page
    assert report.table(folder) == 0
    assert "test.auc" in capsys.readouterr().out


def test_a_missed_target_is_one_line_and_fails(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params.write_json(folder / "metrics.json", {"test": {"auc": 0.5}})
    assert report.gate(folder) == 1
    assert "gate: KR1 missed: test.auc target >= 0.9, measured 0.5" in capsys.readouterr().err
    assert params.read_json(folder / "reports/objectives.json")["passed"] is False
    assert report.table(folder) == 1


def test_a_metric_that_nothing_produces_fails(folder: Path, document: dict[str, Any]) -> None:
    results(document)[1] |= {"metric": "live.happiness", "window": "5 requests", "for": "1 of 1"}
    (folder / "objectives.yaml").write_text(yaml.safe_dump(document))
    params.write_json(folder / "metrics.json", {})
    problems = objectives.unproduced(objectives.load().key_results, folder)
    assert len(problems) == 2 and "nothing produces live.happiness" in problems[1]
    assert report.check(folder) == 1


def test_the_table_asks_for_a_run_first(folder: Path) -> None:
    assert report.table(folder) == 1


def test_the_command_records_the_run_even_when_the_gate_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params.write_json(folder / "metrics.json", {"test": {"auc": 0.5}})
    monkeypatch.setattr("sys.argv", ["objectives", "gate"])
    with pytest.raises(SystemExit) as stopped:
        objectives.main()
    assert stopped.value.code == 1
    assert "pipeline" in params.read_json(folder / ".run.json")


def test_the_report_shows_what_the_monitor_measured(folder: Path, document: dict[str, Any]) -> None:
    common = {"requirement": "R1", "when": "live", "window": "9 labelled", "for": "1 of 1"}
    for name, metric in {"KR3": "live.recall", "KR4": "live.drift", "KR5": "live.new"}.items():
        more = {"id": name, "metric": metric, "at_least": 0.8, "then": "retrain"}
        results(document).append(common | more)
    (folder / "objectives.yaml").write_text(yaml.safe_dump(document))
    known = {"live.recall": "", "live.drift": "", "live.new": ""}
    params.write_json(folder / "reports/reference.json", {"live_metrics": known})
    assert report.gate(folder) == 0
    page = folder / "reports/objectives.md"
    before = page.read_bytes()
    assert report.report(folder) == 0 and page.read_bytes() == before
    values = {"live.recall": 0.91, "KR3": {"breached": False, "windows": 12}}
    values |= {"live.drift": None, "KR4": {"breached": True, "windows": 2}}
    params.write_json(folder / "live/values.json", values)
    assert report.report(folder) == 0
    text = page.read_text()
    seen = "| >= 0.8 | 0.91 | pass | in production, 12 windows; on a miss: retrain |"
    assert f"| KR3 | R1 | `live.recall` {seen}" in text
    assert "| KR4 | R1 | `live.drift` | >= 0.8 | - | FAIL | in production, 2 windows" in text
    assert "| KR5 | R1 | `live.new` | >= 0.8 | - | live | in production; on a miss" in text
    assert report.gate(folder) == 0 and page.read_bytes() == before
