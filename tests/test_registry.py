from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from shared import objectives, params, provenance, registry, tracking
from shared.comparing import Comparison

BETTER = Comparison(0.05, 0.01, 0.09, True)
UNSURE = Comparison(0.05, -0.01, 0.11, False)


def train_again(folder: Path, auc: float) -> str | None:
    """A new pipeline run with another model and another result, on the same data."""
    params.write_json(folder / "metrics.json", {"test": {"auc": auc}})
    lock = f"stages: {{prepare: {{outs: [x]}}, train: {{outs: [{auc}]}}}}\n"
    (folder / "dvc.lock").write_text(lock)
    (folder / "export/model.onnx").write_bytes(str(auc).encode())
    return registry.register()


def test_only_a_better_challenger_becomes_champion_and_rollback_restores(store: Path) -> None:
    loaded = objectives.load()
    assert registry.promote(loaded) == (False, "demo has no challenger: run dvc repro")
    assert registry.rollback("demo")[0] is False
    assert train_again(store, 0.95) == "1"
    assert registry.register() == "1", "the same model is not registered twice"
    assert registry.promote(loaded) == (True, "version 1 is champion")
    assert "already is the champion" in registry.promote(loaded)[1]
    train_again(store, 0.93)
    done, reason = registry.promote(loaded)
    assert not done and "0.93 does not beat the champion's 0.95" in reason
    train_again(store, 0.97)
    assert registry.promote(loaded) == (True, "version 3 is champion")
    assert registry.rollback("demo") == (True, "version 1 is champion again")


def test_another_test_set_is_refused(store: Path) -> None:
    train_again(store, 0.95)
    registry.promote(objectives.load())
    params.write_json(store / "metrics.json", {"test": {"auc": 0.99}})
    (store / "dvc.lock").write_text("stages: {prepare: {outs: [other]}}\n")
    registry.register()
    assert "test set is not the champion's" in registry.promote(objectives.load())[1]


def test_live_evidence_promotes_on_another_test_set_and_is_kept(store: Path) -> None:
    """The gate's number may be lower there: the test set is another one."""
    loaded = objectives.load()
    assert registry.promote_live(loaded, BETTER)[0] is False, "there is no challenger"
    train_again(store, 0.95)
    assert registry.promote_live(loaded, BETTER) == (True, "version 1 is champion")
    params.write_json(store / "metrics.json", {"test": {"auc": 0.92}})
    (store / "dvc.lock").write_text("stages: {prepare: {outs: [other]}}\n")
    (store / "export/model.onnx").write_bytes(b"other")
    registry.register()
    model = provenance.collect()["model_version"]
    assert "test set is not the champion's" in registry.promote(loaded)[1]
    done, reason = registry.promote_live(loaded, UNSURE)
    assert not done and "0.05 less, 95 % interval -0.01 to 0.11" in reason
    assert registry.promote_live(loaded, BETTER, "of another run")[0] is False
    assert registry.promote_live(loaded, BETTER, model) == (True, "version 2 is champion")
    assert registry.promote_live(loaded, BETTER, model)[0], "a retraining that goes on"
    tags = tracking.client().get_model_version_by_alias("demo", "champion").tags
    assert tags["live.gain"] == "0.05" and tags["live.low"] == "0.01"
    assert (
        registry.withdraw("demo", "of another run") == "of another run is not the champion of demo"
    )
    assert registry.withdraw("demo", model) == "version 1 is champion again"


def test_what_served_without_being_champion_is_it_after_a_rollback(store: Path) -> None:
    """Nobody has promoted the first model; it was deployed from export/."""
    loaded = objectives.load()
    train_again(store, 0.95)
    first = provenance.collect()["model_version"]
    assert train_again(store, 0.96) == "2"
    second = provenance.collect()["model_version"]
    assert registry.promote_live(loaded, BETTER, second, first)[0]
    assert registry.withdraw("demo", second) == "version 1 is champion again"
    assert registry.champion("demo") == "1"
    tracking.client().delete_registered_model_alias("demo", "champion")
    train_again(store, 0.97)
    third = provenance.collect()["model_version"]
    assert registry.promote_live(loaded, BETTER, third, "was never registered")[0]
    assert registry.withdraw("demo", third) == "demo has no former champion"
    assert registry.champion("demo") is None, "the bad one is not"


def test_a_registration_that_ended_before_its_alias_is_finished_by_the_next(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise MlflowException("busy", error_code=TEMPORARILY_UNAVAILABLE)

    with monkeypatch.context() as there:
        there.setattr(MlflowClient, "set_registered_model_alias", away)
        assert train_again(store, 0.95) is None
    assert registry.promote(objectives.load())[1] == "demo has no challenger: run dvc repro"
    assert registry.register() == "1"
    assert registry.promote(objectives.load()) == (True, "version 1 is champion")


def test_no_evidence_makes_up_for_a_missed_target(store: Path) -> None:
    train_again(store, 0.85)
    done, reason = registry.promote_live(objectives.load(), BETTER)
    assert not done and "test.auc target >= 0.9, measured 0.85" in reason


def test_a_local_store_is_the_blueprints_from_wherever_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in ("", "sqlite:///mlflow.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        if not given:
            monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert registry.store_of(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
        assert registry.store_of(tmp_path / "elsewhere") == f"sqlite:///{tmp_path}/mlflow.db"
        assert not registry.is_there(tmp_path)
    (tmp_path / "mlflow.db").touch()
    assert registry.is_there(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert registry.store_of(tmp_path) == "http://127.0.0.1:5000" and registry.is_there(tmp_path)


def test_a_registry_that_does_not_answer_is_not_one_without_a_champion(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the challenger would be champion without a comparison, and no way back."""
    loaded = objectives.load()
    train_again(store, 0.95)
    assert registry.promote(loaded)[0]

    def away(*_: object) -> None:
        raise MlflowException("busy", error_code=TEMPORARILY_UNAVAILABLE)

    with monkeypatch.context() as there:
        there.setattr(MlflowClient, "get_model_version_by_alias", away)
        with pytest.raises(MlflowException, match="busy"):
            registry.promote(loaded)
        there.setattr("sys.argv", ["tracking", "promote"])
        with pytest.raises(SystemExit, match=r"promote: the registry does not answer: .*busy"):
            tracking.main()
    assert registry.champion("demo") == "1" and registry.champion("unknown") is None


def test_a_champion_without_the_first_metric_is_not_beaten_by_anything(store: Path) -> None:
    params.write_json(store / "metrics.json", {"test": {"f1": 0.9}})
    registry.register()
    assert registry.promote(objectives.load())[0], "there was none before"
    (store / "dvc.lock").write_text("stages: {train: {outs: [x]}}\n")
    train_again(store, 0.99)
    done, reason = registry.promote(objectives.load())
    assert not done and "the champion's run has no test.auc" in reason
