"""What is exported decides as what was trained, and says so in export.json."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import export
import gymnasium
import numpy as np
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


ONE = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
TWO = gymnasium.spaces.Box(np.array([0, -70], np.float32), np.array([10, 30], np.float32))


@pytest.mark.parametrize(
    ("ours", "theirs", "agreement"),
    [
        ([[0.12345], [1.0]], [[0.12345 + 1e-9], [1.0]], 1.0),  # 0.1234 and 0.1235, if rounded
        ([[0.00006], [-1.0]], [[0.00014], [-0.9999]], 1.0),
        ([[0.00004], [0.0]], [[0.00026], [0.0]], 0.5),
    ],
)
def test_amounts_within_a_ten_thousandth_of_their_range_are_the_same_decision(
    ours: Any, theirs: Any, agreement: float
) -> None:
    found = export.parity(np.array(ours), np.array(theirs), ONE)
    assert found["decision_agreement"] == agreement
    assert found["max_abs_diff"] == pytest.approx(np.abs(np.subtract(ours, theirs)).max())


def test_each_amount_of_an_action_has_its_own_range() -> None:
    theirs = np.array([[5.0, 0.0]] * 3)
    ours = theirs + np.array([[0.0009, -0.009], [0.002, 0.0], [0.0, 0.02]])
    assert export.parity(ours, theirs, TWO)["decision_agreement"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("space", [gymnasium.spaces.Discrete(3), gymnasium.spaces.MultiBinary(1)])
def test_numbers_of_actions_are_the_same_decision_where_they_are_equal(space: Any) -> None:
    theirs = np.array([0, 1, 2, 2])
    found = export.parity(np.array([[0], [1], [2], [1]]), theirs, space)
    assert found == {"max_abs_diff": 1, "decision_agreement": 0.75}


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
