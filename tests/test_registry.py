from pathlib import Path

from shared import objectives, params, registry


def train_again(folder: Path, auc: float) -> str | None:
    """A new pipeline run with another model and another result, on the same data."""
    params.write_json(folder / "metrics.json", {"test": {"auc": auc}})
    lock = f"stages: {{prepare: {{outs: [x]}}, train: {{outs: [{auc}]}}}}\n"
    (folder / "dvc.lock").write_text(lock)
    (folder / "export/model.onnx").write_bytes(str(auc).encode())
    return registry.register()


def test_only_a_better_challenger_becomes_champion_and_rollback_restores(folder: Path) -> None:
    loaded = objectives.load()
    assert registry.promote(loaded) == (False, "demo has no challenger: run dvc repro")
    assert registry.rollback("demo")[0] is False
    assert train_again(folder, 0.95) == "1"
    assert registry.register() == "1", "the same model is not registered twice"
    assert registry.promote(loaded) == (True, "version 1 is champion")
    assert "already is the champion" in registry.promote(loaded)[1]
    train_again(folder, 0.93)
    done, reason = registry.promote(loaded)
    assert not done and "0.93 does not beat the champion's 0.95" in reason
    train_again(folder, 0.97)
    assert registry.promote(loaded) == (True, "version 3 is champion")
    assert registry.rollback("demo") == (True, "version 1 is champion again")


def test_another_test_set_is_refused(folder: Path) -> None:
    train_again(folder, 0.95)
    registry.promote(objectives.load())
    params.write_json(folder / "metrics.json", {"test": {"auc": 0.99}})
    (folder / "dvc.lock").write_text("stages: {prepare: {outs: [other]}}\n")
    registry.register()
    assert "test set is not the champion's" in registry.promote(objectives.load())[1]
