"""The live loop end to end in a copied-out folder, with real Prometheus and Alertmanager."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from copied import App, edit
from simulated import assert_answered, assert_quiet, simulate, small_windows

from shared import audit, live
from shared.live import Ports, Stack


def test_every_part_is_told_where_the_others_are(tmp_path: Path) -> None:
    stack = Stack(Ports(1001, 1002, 1003, 1004, 1005), tmp_path)
    found = live.commands(stack, every=2, actions=["--probation", "60"])
    assert list(found) == ["service", "monitor", "actions", "alertmanager", "prometheus"]
    for name, (command, health) in found.items():
        port = str(getattr(stack.ports, name))
        assert any(port in word for word in command) and health.startswith(stack.url(name))
    assert found["actions"][0][-2:] == ["--probation", "60"]
    assert str(tmp_path / "logs") in found["monitor"][0]
    assert stack.url("prometheus") in found["monitor"][0]


def test_the_fewest_windows_of_any_key_result_count(
    tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"requirement": "R1", "when": "live", "then": "page", "metric": "live.x", "at_most": 1}
    asked |= {"window": "9 requests", "for": "1 of 2"}
    document["objectives"][0]["key_results"] += [{"id": name, **asked} for name in ("L1", "L2")]
    (tmp_path / "objectives.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.chdir(tmp_path)
    assert live.windows(tmp_path) == 0
    values = {"L1": {"windows": 5}, "L2": {"windows": 3}, "live.x": 0.5}
    (tmp_path / "values.json").write_text(json.dumps(values))
    assert live.windows(tmp_path) == 3


def test_waiting_shows_the_audit_log_and_ends_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(Ports(), tmp_path)
    audit.append("alert", tmp_path, key_result="K1")
    assert live.wait(stack, lambda events: events == ["alert"], seconds=30)
    assert not live.wait(stack, lambda events: "served" in events, seconds=0.01)
    assert "live: alert {'key_result': 'K1'}" in capsys.readouterr().out


def test_missing_tools_are_named_with_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.shutil, "which", lambda tool: None)
    with (
        pytest.raises(SystemExit, match="prometheus-alertmanager not found: run `make tools`"),
        live.stack_of(tmp_path, Ports(), 1, 1, []),
    ):
        pass


def test_a_folder_without_a_model_is_told_what_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(live.shutil, "which", lambda tool: tool)
    with (
        pytest.raises(SystemExit, match=r"no export/model\.json here: run `dvc repro` first"),
        live.stack_of(tmp_path / "live", Ports(), 1, 1, []),
    ):
        pass
    assert not (tmp_path / "live").exists()


@pytest.fixture(scope="module")
def copy(reproduced: App, tmp_path_factory: pytest.TempPathFactory, tools: None) -> App:
    app = App(tmp_path_factory.mktemp("live") / "app", reproduced.environment)
    shutil.copytree(reproduced.folder, app.folder, symlinks=True)
    small_windows(app, 60)
    edit(app.folder / "params.yaml", lambda values: values["retrain"].update(rows=240, epochs=4))
    return app


@pytest.mark.pipeline
@pytest.mark.fault
def test_usual_traffic_raises_no_alert(copy: App) -> None:
    assert_quiet(simulate(copy, "none", 30))


@pytest.mark.pipeline
@pytest.mark.fault
def test_negatives_are_noticed_learnt_and_served_without_a_lost_request(copy: App) -> None:
    assert_answered(simulate(copy, "negative", 30))
