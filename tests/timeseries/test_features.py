"""Features: nothing of the future, the same numbers for any season length."""

import features
import numpy as np
import pytest


def walk(length: int, seed: int = 0) -> np.ndarray:
    return 50 + np.random.default_rng(seed).normal(0, 1, length).cumsum()


def test_values_after_the_moment_change_nothing() -> None:
    values, moments = walk(60), np.array([24, 30, 47])
    before = features.origins(values, 12, moments)
    changed = values.copy()
    changed[47:] = 1e6
    after = features.origins(changed, 12, moments)
    for name, found in before.items():
        np.testing.assert_array_equal(found, after[name], err_msg=name)
    changed[46] = 1e6
    assert (features.origins(changed, 12, moments)["recent"][2] != before["recent"][2]).any()


def test_recent_values_come_newest_first_and_are_missing_before_the_beginning() -> None:
    found = features.origins(np.arange(10.0), 4, np.array([10, 3]))["recent"]
    np.testing.assert_array_equal(found[0], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, *[np.nan] * 6])
    np.testing.assert_array_equal(found[1], [2, 1, 0, *[np.nan] * 13])


@pytest.mark.parametrize("season_length", [1, 4, 7, 12])
def test_a_series_that_repeats_itself_is_its_own_base(season_length: int) -> None:
    pattern = np.random.default_rng(1).uniform(10, 90, season_length)
    values, steps = np.tile(pattern, 6), np.arange(1, 3 * season_length + 1)
    known = features.origins(values, season_length, np.array([len(values)]))
    rows, base = features.rows(known["recent"], known["observations"], season_length, steps)
    np.testing.assert_allclose(features.unsquash(base[0]), np.tile(pattern, 3), rtol=1e-12)
    names = features.column_names(season_length, (), ())
    assert rows.shape == (1, len(steps), len(names))
    for name in ("growth_1", "change_1", "change_there", "spread_of_change", "seasons_back_2"):
        assert np.abs(rows[0, :, names.index(name)]).max() < 1e-12, name
    np.testing.assert_array_equal(rows[0, :, 0], steps)


def test_squashing_keeps_order_sign_and_comes_back() -> None:
    values = np.array([-1e6, -1.0, -0.1, 0.0, 0.1, 1.0, 1e6])
    squashed = features.squash(values)
    assert (np.diff(squashed) > 0).all() and squashed[3] == 0
    np.testing.assert_allclose(features.unsquash(squashed), values, rtol=1e-12)


def test_the_calendar_knows_its_days() -> None:
    times = np.array(["2024-02-29T13:30", "2023-12-31T00:00"], "datetime64[ns]")
    month, weekday, hour = features.calendar(times, ("month", "weekday", "hour"))
    assert month.tolist() == [1, 11] and weekday.tolist() == [3, 6] and hour.tolist() == [13.5, 0]


def test_the_scale_is_the_mean_change_between_seasons() -> None:
    values = np.array([1.0, 2, 3, 4, 3, 2, 5, 0])
    recent = features.origins(values, 4, np.array([8]))["recent"]
    assert features.scale(recent, 4)[0] == pytest.approx(np.mean([2, 0, 2, 4]))


def test_a_constant_series_has_a_scale_above_nothing() -> None:
    recent = features.origins(np.full(20, 5.0), 4, np.array([20]))["recent"]
    assert 0 < features.scale(recent, 4)[0] < 0.1
