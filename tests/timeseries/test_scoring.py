"""Scores against the definitions, as sktime and hand computation have them."""

import numpy as np
import pytest
import scoring
from dataset import Series
from features import naive_error
from sktime.performance_metrics.forecasting import mean_absolute_scaled_error

RANDOM = np.random.default_rng(0)


def series(values: np.ndarray, length: int, filled: tuple[int, ...] = ()) -> Series:
    marks = np.isin(np.arange(len(values)), filled)
    times = np.arange(len(values)).astype("datetime64[D]").astype("datetime64[ns]")
    return Series("a", times, values, marks, np.zeros((len(values), 0)), length)


def test_mase_is_that_of_sktime() -> None:
    values, mean = RANDOM.uniform(10, 20, 60), RANDOM.uniform(10, 20, 12)
    one = series(values, 48)
    unit, squared = scoring.units([one], 12)
    found = scoring.errors(mean[None], scoring.truth([one], 12), unit, squared)
    wanted = mean_absolute_scaled_error(values[48:], mean, sp=12, y_train=values[:48])
    assert found["mase"][0] == pytest.approx(wanted)
    squares = ((values[12:48] - values[:36]) ** 2).mean()
    wanted = np.sqrt(((values[48:] - mean) ** 2).mean() / squares)
    assert found["rmsse"][0] == pytest.approx(wanted)
    wanted = (200 * np.abs(values[48:] - mean) / (values[48:] + mean)).mean()
    assert found["smape"][0] == pytest.approx(wanted)


def test_values_that_were_missing_do_not_count() -> None:
    values = np.r_[RANDOM.uniform(10, 20, 20), 15.0, 1e9]
    one = series(values, 20, filled=(21,))
    real = scoring.truth([one], 2)
    assert np.isnan(real[0, 1])
    unit, squared = scoring.units([one], 4)
    found = scoring.errors(np.array([[15.0, 0.0]]), real, unit, squared)
    assert found["mase"][0] == 0 and found["smape"][0] == 0


def test_a_constant_history_has_no_score_and_spoils_no_mean() -> None:
    both = [series(np.full(20, 5.0), 16), series(np.tile([1.0, 3.0, 8.0], 10)[:20], 16)]
    unit, squared = scoring.units(both, 2)
    assert np.isnan(unit[0]) and unit[1] > 0
    found = scoring.errors(np.zeros((2, 4)), scoring.truth(both, 4), unit, squared)
    assert scoring.summary(found)["mase"] == found["mase"][1]


def test_coverage_width_and_pinball_by_hand() -> None:
    real, unit = np.array([[1.0, 5.0, 9.0, np.nan]]), np.array([2.0])
    mean = np.full((1, 4), 5.0)
    lower, upper = np.full((1, 4), 4.0), np.full((1, 4), 9.0)
    found = scoring.of_intervals({"80": (lower, upper)}, mean, real, unit)
    assert found["coverage_80"] == pytest.approx(2 / 3)
    assert found["width_80"] == pytest.approx(2.5)
    median = np.array([2, 0, 2]) / 2
    low = np.array([0.9 * 3, 0.1 * 1, 0.1 * 5]) / 2
    high = np.array([0.1 * 8, 0.1 * 4, 0]) / 2
    assert found["pinball"] == pytest.approx(np.concatenate([median, low, high]).mean())


def test_a_series_without_a_forecast_has_no_interval_that_misses() -> None:
    real, unit, unknown = np.ones((2, 3)), np.ones(2), np.array([[np.nan] * 3, [1.0] * 3])
    found = scoring.of_intervals({"80": (unknown - 1, unknown + 1)}, unknown, real, unit)
    assert found["coverage_80"] == 1 and found["width_80"] == 2


def test_the_true_quantile_has_the_least_pinball_loss() -> None:
    sample = RANDOM.normal(0, 1, 4000)
    grid = np.linspace(-2, 2, 81)
    losses = [scoring.pinball(np.array(q), sample, 0.1).mean() for q in grid]
    assert grid[int(np.argmin(losses))] == pytest.approx(np.quantile(sample, 0.1), abs=0.06)


def test_the_naive_error_of_a_short_history_is_that_of_its_steps() -> None:
    assert naive_error(np.array([1.0, 2.0, 4.0]), 12) == 1.5


def test_steps_without_a_truth_have_no_score_and_all_missing_is_an_error() -> None:
    values = np.arange(24.0)
    one = series(values, 20, filled=(21,))
    real, unit = scoring.truth([one], 4), np.array([1.0])
    held = scoring.Held(np.zeros((1, 4)), real, unit, unit, {"80": (real - 1, real + 1)})
    found = scoring.by_horizon(held)
    for name in ("mase", "rmsse", "smape", "coverage_80", "pinball"):
        assert [row[name] is None for row in found] == [False, True, False, False], name
    with pytest.raises(SystemExit, match="every held-out value is missing"):
        scoring.truth([series(values, 20, filled=(20, 21, 22, 23))], 4)


def test_scores_of_a_class_and_of_a_step_are_those_of_their_rows_and_columns() -> None:
    mean, real = RANDOM.uniform(10, 20, (3, 4)), RANDOM.uniform(10, 20, (3, 4))
    unit, squared = np.array([1.0, 2.0, 4.0]), np.array([1.0, 5.0, 20.0])
    held = scoring.Held(mean, real, unit, squared, {"80": (mean - 2, mean + 2)})
    miss = np.abs(mean - real)
    found = scoring.scores(held, np.array([True, False, True]))
    assert found["mase"] == pytest.approx((miss.mean(axis=1) / unit)[[0, 2]].mean())
    assert found["coverage_80"] == pytest.approx((miss[[0, 2]] <= 2).mean())
    assert found["width_80"] == pytest.approx((4 / unit[[0, 2]]).mean())
    third = scoring.by_horizon(held)[2]
    assert third["step"] == 3
    assert third["rmsse"] == pytest.approx((miss[:, 2] / np.sqrt(squared)).mean())
    assert third["coverage_80"] == pytest.approx((miss[:, 2] <= 2).mean())
    everything = scoring.scores(held)
    assert np.mean([row["mase"] for row in scoring.by_horizon(held)]) == pytest.approx(
        everything["mase"]
    )


def test_bootstrap_intervals_are_as_wide_as_the_mean_is_uncertain() -> None:
    values = np.r_[np.random.default_rng(0).normal(5, 2, 400), np.nan]
    low, high = scoring.interval_of_mean(values, seed=0)
    assert low < np.nanmean(values) < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)
