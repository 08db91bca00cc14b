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


@pytest.mark.parametrize("season_length", [1, 4, 7, 12])
def test_many_moments_at_once_have_the_bits_of_each_alone(season_length: int) -> None:
    """The file of `prepare` is computed for many moments, a history in a request for one."""
    values = walk(100) * 1e3
    lengths = np.arange(max(2 * season_length, 4), 101)
    steps = np.arange(1, 2 * season_length + 2)
    every = features.origins(values, season_length, lengths)
    rows, base = features.rows(every["recent"], every["observations"], season_length, steps)
    scale = features.scale(every["recent"], season_length)
    for i, length in enumerate(lengths):
        alone = features.origins(values[:length], season_length, np.array([length]))
        for name, found in alone.items():
            np.testing.assert_array_equal(found[0], every[name][i], err_msg=name)
        own, own_base = features.rows(alone["recent"], alone["observations"], season_length, steps)
        np.testing.assert_array_equal(own[0], rows[i])
        np.testing.assert_array_equal(own_base[0], base[i])
        assert features.scale(alone["recent"], season_length)[0] == scale[i]


def test_columns_are_called_what_they_are() -> None:
    """On a ramp every value tells its place: 0 to 47, the next one would be 48."""
    known = features.origins(np.arange(48.0), 12, np.array([48]))
    rows, base = features.rows(known["recent"], known["observations"], 12, np.arange(1, 15))
    names = features.column_names(12, (), ())

    def values(name: str) -> np.ndarray:
        return features.unsquash(rows[0, :, names.index(name)] + base[0])

    np.testing.assert_allclose(values("seasons_back_1"), [*range(36, 48), 36, 37])
    np.testing.assert_allclose(values("seasons_back_3"), [*range(12, 24), 12, 13])
    np.testing.assert_allclose(values("before"), [*range(35, 47), 35, 36])
    after = [*range(37, 48), 36, 37, 38]  # after the newest value nothing is known
    np.testing.assert_allclose(values("after"), after)
    assert rows[0, 0, names.index("observations")] == 48


def test_the_calendar_is_right_before_1970_too() -> None:
    times = np.array(["1958-03-29T06:15", "1969-12-31T23:00"], "datetime64[ns]")
    month, weekday, hour = features.calendar(times, ("month", "weekday", "hour"))
    assert month.tolist() == [2, 11] and weekday.tolist() == [5, 2] and hour.tolist() == [6.25, 23]
