"""A LightGBM model as ONNX says what LightGBM says, to the last value on a threshold."""

from pathlib import Path

import lightgbm
import numpy as np
import onnxruntime
import pytest
import trees


def trained(features: np.ndarray, target: np.ndarray, rounds: int = 20) -> lightgbm.Booster:
    settings = {"objective": "regression_l1", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(features, target), rounds)


def said(booster: lightgbm.Booster, rows: np.ndarray, path: Path) -> np.ndarray:
    trees.to_onnx(booster, rows.shape[1], path / "model.onnx")
    session = onnxruntime.InferenceSession(path / "model.onnx")
    found: np.ndarray = session.run(None, {"rows": rows})[0][:, 0]
    return found


@pytest.mark.parametrize("missing", [True, False])
def test_every_row_gets_the_same_number(missing: bool, tmp_path: Path) -> None:
    """Also rows with NaN where training had none, and values on the thresholds themselves."""
    generator = np.random.default_rng(0)
    rows = generator.normal(0, 1, (2000, 4)).round(2)
    target = np.where(rows[:, 0] > 0.3, rows[:, 1], rows[:, 2] ** 2) + generator.normal(
        0, 0.1, 2000
    )
    if missing:
        rows[::7, 0] = np.nan
    booster = trained(rows, target)
    nodes = booster.trees_to_dataframe().dropna(subset=["threshold"])
    exact = np.repeat(nodes["threshold"].to_numpy()[:200, None], 4, axis=1)
    unseen = generator.normal(0, 2, (500, 4))
    unseen[::3, generator.integers(0, 4)] = np.nan
    unseen[5] = np.nan
    asked = np.concatenate([rows, exact, np.nextafter(exact, np.inf), unseen])
    np.testing.assert_allclose(said(booster, asked, tmp_path), booster.predict(asked), atol=1e-6)


def test_a_tree_that_is_a_single_leaf_is_a_constant(tmp_path: Path) -> None:
    rows = np.ones((100, 2))
    booster = trained(rows, np.full(100, 3.0), rounds=1)
    np.testing.assert_allclose(said(booster, rows, tmp_path), booster.predict(rows), atol=1e-6)


def test_zero_and_missing_go_the_same_way_where_training_had_none(tmp_path: Path) -> None:
    """LightGBM takes NaN for 0 then, also when 0 itself is next to the threshold."""
    rows = np.tile([-1.0, 0.0, 1.0, 2.0], 200)[:, None]
    booster = trained(rows, np.where(rows[:, 0] > 0, 5.0, 1.0) + (rows[:, 0] < 0), rounds=5)
    asked = np.array([[np.nan], [0.0], [-0.0], [1e-36], [-1e-36], [np.inf], [-np.inf]])
    found, wanted = said(booster, asked, tmp_path), booster.predict(asked)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert found[0] == found[1] and np.ptp(found) > 1
