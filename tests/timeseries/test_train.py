"""A killed backtest goes on with the folds that are left, unless anything has changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train
from pydantic import ValidationError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> train.TrainParams:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/prepared").mkdir(parents=True)
    (tmp_path / "data/prepared/series.parquet").write_bytes(b"some data")
    given: dict[str, Any] = {
        "candidates": ["theta"],
        "combined": ["theta"],
        "folds": 3,
        "measure": "mase",
    }
    given |= {"per_series": 0.1, "levels": [80], "max_rows": 10, "trees": 1, "leaves": 2}
    given |= {"min_rows_per_leaf": 1, "learning_rate": 0.1, "jobs": 1, "seed": 0}
    return train.TrainParams(**given)


def test_a_fold_that_is_done_is_taken_over(
    config: train.TrainParams, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train.checkpoint(config)
    train.save(folder / "24.npz", {"theta": np.arange(6.0).reshape(2, 3)})
    assert train.checkpoint(config) == folder
    assert "goes on after 1 of 3 folds" in capsys.readouterr().out
    np.testing.assert_array_equal(train.load(folder / "24.npz")["theta"], [[0, 1, 2], [3, 4, 5]])


def test_other_data_or_parameters_begin_anew(config: train.TrainParams) -> None:
    folder = train.checkpoint(config)
    train.save(folder / "24.npz", {"theta": np.zeros((1, 1))})
    Path("data/prepared/series.parquet").write_bytes(b"other data")
    changed = train.checkpoint(config)
    assert changed != folder and not folder.exists() and not list(changed.iterdir())
    train.save(changed / "24.npz", {"theta": np.zeros((1, 1))})
    again = train.checkpoint(config.model_copy(update={"seed": 1}))
    assert again != changed and not changed.exists()


def test_a_fold_that_a_kill_tore_is_not_taken_over(
    config: train.TrainParams, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train.checkpoint(config)
    train.save(folder / "24.npz", {"theta": np.zeros((1, 1))})
    (folder / ".36.npz.123.npz").write_bytes(b"half of it")
    train.checkpoint(config)
    assert "goes on after 1 of 3 folds" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"combined": ["combination"]},
        {"combined": []},
        {"candidates": []},
        {"candidates": ["arima"]},
        {"levels": [0]},
        {"levels": [100]},
        {"levels": []},
        {"leaves": 1},
    ],
)
def test_parameters_that_no_run_could_use_are_refused(
    config: train.TrainParams, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        train.TrainParams(**config.model_dump() | wrong)
