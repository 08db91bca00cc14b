"""The backtest looks back only, chooses what pays, and its intervals hold what they promise."""

from types import SimpleNamespace
from typing import Any

import backtest
import dataset
import folds
import intervals
import numpy as np
import pytest
from dataset import Moments, Series
from features import origins

META: dict[str, Any] = {"season_length": 4, "horizon": 6, "covariates": [], "calendar": []}
META |= {"negative": False}
CONFIG = SimpleNamespace(
    candidates=("seasonal_naive", "theta", "global", "combination"),
    combined=("seasonal_naive", "theta", "global"),
    per_series=0.02,
    measure="mase",
    levels=(80.0,),
    trees=5,
    leaves=3,
    min_rows_per_leaf=5,
    learning_rate=0.1,
    jobs=1,
    seed=0,
)


def series(name: str, values: np.ndarray, length: int) -> Series:
    times = np.arange(len(values)).astype("datetime64[D]").astype("datetime64[ns]")
    return Series(
        name, times, values, np.zeros(len(values), bool), np.zeros((len(values), 0)), length
    )


def drawn(number: int = 6, length: int = 40) -> list[Series]:
    generator = np.random.default_rng(0)
    pattern = np.tile([10.0, 30, 20, 40], 20)[: length + 6]
    return [
        series(f"S{i}", pattern * generator.lognormal(0, 0.1, length + 6), length)
        for i in range(number)
    ]


def moments(given: list[Series], wanted: np.ndarray) -> Moments:
    recent = [origins(given[i].values, 4, np.array([length]))["recent"][0] for i, length in wanted]
    return Moments(wanted[:, 0], wanted[:, 1], np.stack(recent), wanted[:, 1])


def fold(given: list[Series], back: int) -> dict[str, np.ndarray]:
    every = [(i, t) for i, one in enumerate(given) for t in range(8, one.length)]
    learnt, ends = moments(given, np.array(every)), moments(given, dataset.ends(given, back, META))
    return folds.fold(given, (learnt, ends), back, CONFIG, META)[0]


def test_a_fold_knows_nothing_of_what_came_after_it() -> None:
    given = drawn()
    changed = []
    for one in given:
        values = one.values.copy()
        values[one.length - 10 :] *= 100
        changed.append(one._replace(values=values))
    before, after = fold(given, 10), fold(changed, 10)
    assert set(before) == set(CONFIG.candidates)
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name], err_msg=name)


def test_a_fold_that_begins_inside_a_gap_leaves_the_series_out() -> None:
    given = drawn(2)
    filled = given[0].filled.copy()
    filled[given[0].length - 11] = True
    given[0] = given[0]._replace(filled=filled)
    assert dataset.ends(given, 10, META)[:, 0].tolist() == [1]
    assert dataset.ends(given, 9, META)[:, 0].tolist() == [0, 1]
    sampled = dataset.sampled(given, META, 1000, 0)
    assert (0, given[0].length - 10) not in {tuple(pair) for pair in sampled}


def test_series_of_very_different_lengths_are_scored_where_they_can_be() -> None:
    given = [*drawn(2), series("short", np.arange(18.0), 12)]
    errors = backtest.scaled(given, np.ones((3, 6)), 14, 4, 1)
    assert np.isfinite(errors[:2]).all() and np.isnan(errors[2])


def test_a_series_too_short_for_a_fold_has_no_forecast_in_it() -> None:
    given = [*drawn(), series("short", np.arange(20.0), 14)]
    found = fold(given, 10)
    for name, values in found.items():
        assert np.isnan(values[-1]).all() and np.isfinite(values[:-1]).all(), name
    errors = backtest.table(given, {10: found}, META, "mase")
    assert np.isnan(errors["theta"][0, -1])
    chosen = backtest.choose(given, {10: found}, CONFIG, META)
    assert len(chosen["choices"]) == len(given)


def test_cuts_are_seasons_apart_and_those_no_series_reaches_are_left_out() -> None:
    assert dataset.cuts(drawn(), 3, META) == [14, 10, 6]
    assert dataset.cuts([series("a", np.zeros(27), 21)], 3, META) == [10, 6]
    with pytest.raises(SystemExit, match="no series is long enough to look back 6 steps"):
        dataset.cuts([series("a", np.zeros(18), 12)], 3, META)


def chosen_for(errors: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Choice when the candidates miss by these multiples [folds][series] of the truth's unit."""
    number = len(next(iter(errors.values()))[0])
    errors = errors | {"seasonal_naive": [[9.0] * number] * 3}
    given = [
        series(f"S{i}", np.tile([10.0, 30, 20, 40.5], 20)[:46] + np.arange(46), 40)
        for i in range(number)
    ]
    made: backtest.Folds = {}
    for fold_number, back in enumerate((14, 10, 6)):
        made[back] = {
            name: np.stack(
                [
                    one.values[40 - back : 46 - back] + values[fold_number][i] * 4
                    for i, one in enumerate(given)
                ]
            )
            for name, values in errors.items()
        }
    config = SimpleNamespace(**vars(CONFIG) | {"candidates": tuple(errors)})
    return backtest.choose(given, made, config, META)


def test_one_model_serves_all_when_choosing_per_series_does_not_pay() -> None:
    noisy = {"theta": [[1, 2], [1, 2], [2, 1]], "global": [[2, 1.2], [2, 1.2], [1, 2]]}
    found = chosen_for(noisy)  # what was better on the older folds is worse on the newest
    assert found["per_series_gain"] < 0 and len(set(found["choices"])) == 1
    assert found["chosen"] in ("theta", "global")


def test_each_series_gets_its_own_model_when_that_pays() -> None:
    stable = {"theta": [[1.0, 3.0] * 6] * 3, "global": [[3.0, 1.0] * 6] * 3}
    found = chosen_for(stable)
    assert found["choices"] == ["theta", "global"] * 6 and found["chosen"] == "per series"
    assert found["per_series_gain"] == pytest.approx(0.5, abs=0.01)
    few = {name: [errors[:2] for errors in folds] for name, folds in stable.items()}
    assert chosen_for(few)["chosen"] != "per series", "two series prove nothing"


def test_a_model_that_cannot_be_fitted_counts_as_last_season() -> None:
    given = drawn()
    found = fold(given, 10)
    found["theta"][2] = np.nan
    errors = backtest.table(given, {10: found}, META, "mase")
    assert errors["theta"][0, 2] == errors["seasonal_naive"][0, 2]


def test_squares_make_large_misses_count_more() -> None:
    one = [series("a", np.r_[np.tile([1.0, 3.0], 10), 2.0, 2.0, 2.0, 2.0], 20)]
    even, odd = np.array([[3.0, 3, 3, 3]]), np.array([[2.0, 2, 2, 6]])
    small = [backtest.scaled(one, each, 0, 1, 1)[0] for each in (even, odd)]
    assert small[0] == pytest.approx(small[1])
    squared = [backtest.scaled(one, each, 0, 1, 2)[0] for each in (even, odd)]
    assert squared[1] == pytest.approx(2 * squared[0])


@pytest.mark.parametrize("level", [50.0, 80.0, 95.0])
def test_intervals_cover_what_they_promise(level: float) -> None:
    """Over many draws of few skewed errors a new one is inside at least as often as promised."""
    generator, inside = np.random.default_rng(0), []
    for _ in range(400):
        errors = generator.exponential(1, (1, 150))
        below, above = intervals.quantiles(errors.tolist(), (level,))[f"{level:g}"]
        new = generator.exponential(1, 200)
        inside.append(((new >= below[0]) & (new <= above[0])).mean())
    assert level / 100 - 0.005 < np.mean(inside) < level / 100 + 0.03


def test_steps_with_few_errors_borrow_from_their_neighbours() -> None:
    errors = [[float(i)] * 60 for i in range(6)]
    assert set(intervals.around(errors, 0)) == {0, 1}
    assert set(intervals.around(errors, 3)) == {2, 3, 4}
    assert intervals.around([[]], 0).tolist() == [0.0]


def test_an_interval_holds_its_mean_and_stays_above_nothing() -> None:
    meta = {"negative": False, "quantiles": {"80": [[-2.0, 1.0], [3.0, -1.0]]}}
    lower, upper = intervals.interval(np.array([1.0, 10.0]), 2.0, 80.0, meta)
    assert lower.tolist() == [0, 10] and upper.tolist() == [7, 10]


def test_a_series_that_begins_after_the_fold_by_far_does_not_stop_it() -> None:
    for length in range(1, 30):
        given = [*drawn(), series("short", np.arange(length + 6.0), length)]
        found = np.stack([*[np.full(6, 20.0)] * 6, np.full(6, np.nan)])
        errors = backtest.scaled(given, found, 24, 4, 1)
        assert np.isnan(errors[-1]) and np.isfinite(errors[:-1]).all(), length


def test_a_fold_with_nothing_to_learn_from_has_no_global_model() -> None:
    """Series of two seasons and what the fold looks back: every step learnt from came later."""
    given = drawn(length=18)
    found = fold(given, 10)
    assert np.isnan(found["global"]).all()
    for name in ("seasonal_naive", "theta", "combination"):
        assert np.isfinite(found[name]).all(), name
    assert "global" in backtest.choose(given, {10: found}, CONFIG, META)["candidates"]


def test_values_that_were_missing_count_neither_for_errors_nor_for_intervals() -> None:
    (one,) = drawn(1)
    wild = one.values.copy()
    wild[32] = 1e9
    marked = one._replace(values=wild, filled=np.arange(46) == 32)
    found = {10: {"theta": np.full((1, 6), 20.0), "seasonal_naive": np.full((1, 6), 21.0)}}
    missed = backtest.misses([marked], found, ["theta"], META)
    assert [len(errors) for errors in missed] == [1, 1, 0, 1, 1, 1]
    assert max(abs(errors[0]) for errors in missed if errors) < 100
    assert backtest.table([marked], found, META, "mase")["theta"][0, 0] < 100


def test_forecasts_go_below_zero_only_where_values_do() -> None:
    falling = [series(f"S{i}", np.r_[40.0 - np.arange(40), np.zeros(6)], 40) for i in range(3)]
    every = np.array([(i, t) for i in range(3) for t in range(8, 40)])
    known = moments(falling, every), moments(falling, dataset.ends(falling, 0, META))
    for negative in (False, True):
        meta = META | {"negative": negative}
        found = folds.fold(falling, known, 0, CONFIG, meta)[0]
        assert (found["theta"] < 0).any() == negative


def test_what_has_stopped_moving_is_judged_by_the_forecasts_that_are_served() -> None:
    """One of the series has four seasons of zeros when the fold looks ahead."""
    given = drawn()
    ended = np.r_[given[0].values[:14], np.zeros(32)]
    found = fold([*given[:5], series("ended", ended, 40)], 10)
    assert set(found) == set(CONFIG.candidates)
    for name, values in found.items():
        assert values[5].tolist() == [0] * 6 and values[0].min() > 0, name


def test_what_stood_still_before_a_fold_does_not_widen_the_intervals_of_others() -> None:
    """One of seven series has four seasons of zeros before the fold, and is sold again in it."""
    given = drawn()
    closed = given[0].values.copy()
    closed[12:34] = 0
    reopened = series("reopened", closed, 40)
    found = {6: {"theta": np.full((7, 6), 20.0)}}
    missed = backtest.misses([*given, reopened], found, ["theta"] * 7, META)
    assert missed == backtest.misses(
        given, {6: {"theta": np.full((6, 6), 20.0)}}, ["theta"] * 6, META
    )
    assert max(abs(np.concatenate(missed))) < 100
    with pytest.raises(SystemExit, match="in every fold all series had not moved for 4 seasons"):
        backtest.misses([reopened], found, ["theta"], META)
