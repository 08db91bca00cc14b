import subprocess
import sys
from pathlib import Path

import pytest

from shared import objectives, params, provenance, tracking


def train_again(folder: Path, auc: float) -> str | None:
    """A new pipeline run with another model and another result, on the same data."""
    params.write_json(folder / "metrics.json", {"test": {"auc": auc}})
    lock = f"stages: {{prepare: {{outs: [x]}}, train: {{outs: [{auc}]}}}}\n"
    (folder / "dvc.lock").write_text(lock)
    (folder / "export/model.onnx").write_bytes(str(auc).encode())
    return tracking.register()


def test_a_run_is_recorded_once_with_its_provenance(folder: Path) -> None:
    run_id = tracking.start("demo")
    assert run_id and tracking.epoch(run_id, 0, {"loss": 1.0}) == run_id
    assert tracking.start("demo") == run_id, "a restarted training continues its run"
    assert tracking.record() == run_id == tracking.record()
    run = tracking.client().get_run(run_id)
    assert run.data.metrics["test.auc"] == 0.95 and run.data.params["train.epochs"] == "1"
    assert run.data.tags["git_commit"] == provenance.collect()["git_commit"] != "none"
    assert tracking.start("demo") != run_id, "the next pipeline run is a new one"


def test_only_a_better_challenger_becomes_champion_and_rollback_restores(folder: Path) -> None:
    loaded = objectives.load()
    assert tracking.promote(loaded) == (False, "demo has no challenger: run dvc repro")
    assert tracking.rollback("demo")[0] is False
    assert train_again(folder, 0.95) == "1"
    assert tracking.register() == "1", "the same model is not registered twice"
    assert tracking.promote(loaded) == (True, "version 1 is champion")
    assert "already is the champion" in tracking.promote(loaded)[1]
    train_again(folder, 0.93)
    done, reason = tracking.promote(loaded)
    assert not done and "0.93 does not beat the champion's 0.95" in reason
    train_again(folder, 0.97)
    assert tracking.promote(loaded) == (True, "version 3 is champion")
    assert tracking.rollback("demo") == (True, "version 1 is champion again")


def test_another_test_set_is_refused(folder: Path) -> None:
    train_again(folder, 0.95)
    tracking.promote(objectives.load())
    params.write_json(folder / "metrics.json", {"test": {"auc": 0.99}})
    (folder / "dvc.lock").write_text("stages: {prepare: {outs: [other]}}\n")
    tracking.register()
    assert "test set is not the champion's" in tracking.promote(objectives.load())[1]


def test_a_server_that_is_down_costs_a_warning_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking.start("demo") is None
    assert tracking.epoch(None, 0, {}) is None
    assert tracking.register() is None
    assert "later: python -m shared.tracking record" in capsys.readouterr().err


@pytest.mark.fault
def test_four_processes_share_a_fresh_database(folder: Path) -> None:
    code = "from shared import tracking; print(tracking._open_run(tracking.client(), 'demo'))"
    workers = []
    for i in range(4):
        (folder / str(i)).mkdir()
        command = [sys.executable, "-c", code]
        workers.append(subprocess.Popen(command, cwd=folder / str(i), stdout=subprocess.PIPE, text=True))
    runs = {worker.communicate()[0].strip() for worker in workers}
    assert [worker.returncode for worker in workers] == [0] * 4
    assert len(runs) == 4


def test_the_commands_report_and_exit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params.write_json(folder / "reports/objectives.json", {"passed": True})
    for command, code in {"record": 0, "promote": 0, "rollback": 1}.items():
        monkeypatch.setattr("sys.argv", ["tracking", command])
        with pytest.raises(SystemExit) as stopped:
            tracking.main()
        assert stopped.value.code == code
    monkeypatch.setattr("sys.argv", ["tracking", "versions"])
    tracking.main()
    assert "promote: version 1 is champion" in capsys.readouterr().out
