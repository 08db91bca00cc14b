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
    "nothing would gate": lambda d: results(d)[0].update(when="live", then="page"),
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
    results(document)[1]["metric"] = "live.happiness"
    (folder / "objectives.yaml").write_text(yaml.safe_dump(document))
    params.write_json(folder / "metrics.json", {})
    problems = objectives.unproduced(objectives.load(), folder)
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
