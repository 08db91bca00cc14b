"""What is exported decides as what was trained, and says so in export.json."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requested
import torch
from predictor import Played, Predictor

from rl import stages
from shared import params


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """With more, small networks wait for each other where processors are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_stages_agree_on_an_environment_without_prices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "objectives.yaml").write_text((stages.BLUEPRINT / "objectives.yaml").read_text())
    changes: dict[str, Any] = {"train": {"jobs": 1}, "export": {"latency_calls": 5}}
    stages.parameters(tmp_path, env={"id": "CartPole-v1"}, **changes)
    stages.run("ingest", "validate", "prepare", "train", "evaluate", "export")
    found = params.read_json("export.json")["onnx"]
    assert found["decision_agreement"] == 1 and found["score_difference"] == 0
    assert {path.name for path in Path("export").iterdir()} == {"policy.onnx", "model.json"}
    predictor, meta = Predictor("export"), params.read_json("export/model.json")
    assert meta["columns"] == 4 and sum(meta["action_mix"].values()) == pytest.approx(1, abs=1e-5)
    example = requested.question(meta).model_config["json_schema_extra"]["example"]
    asked = requested.Observation(**example)
    played = predictor.play(requested.array(asked.observation), 0, True)
    assert played.source == "policy" and played.guards == [] and played.action in (0, 1)
    holed = requested.array([None, *asked.observation[1:]])
    assert predictor.play(holed, 1, False) == Played(1, "safe", ["missing"])
    far = requested.array([1e9, 0.0, 0.0, 0.0])
    assert predictor.play(far, 0, True).guards == ["unfamiliar"]
