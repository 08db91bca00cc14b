"""What is seen: relative, bounded, of forecasts that are what they say."""

import battery as physics
import features
import numpy as np
import pytest

from rl import markets


def seen(windows: np.ndarray, usual: float = 40.0, step: float = 1.0) -> features.Moments:
    battery, ones = physics.Battery(step), np.ones(len(windows))
    none = np.zeros((len(windows), 0))
    return features.moments(battery, windows, ones * 5, ones * 0, none, usual)


def windows(number: int = 20, day: int = 24) -> np.ndarray:
    prices = markets.prices(12, day)
    return np.lib.stride_tricks.sliding_window_view(prices, 7 * day)[:number].copy()


def test_only_relative_prices_are_seen() -> None:
    battery, charge, none = physics.Battery(1.0), np.full(20, 1.7), np.zeros(20)
    one = features.observe(battery, seen(windows()), charge, none)
    tenfold = features.observe(battery, seen(windows() * 10, 400.0), charge, none)
    assert tenfold == pytest.approx(one, abs=1e-3)
    assert one.shape[1] == features.width(battery, 24, 0)


def test_forecasts_of_a_small_day() -> None:
    """Days of four steps: yesterday 10 20 30 40, today 14 so far, other days 0."""
    window = np.zeros((1, 28))
    window[0, -5:] = [10, 20, 30, 40, 14]
    yesterday, moved, week = features.forecasts(window, 4)[0]
    assert yesterday.tolist() == [20, 30, 40]
    fade = np.exp(-np.array([6, 12, 18]) / features.FADE_HOURS)
    assert moved.tolist() == pytest.approx((np.array([20, 30, 40]) + 4 * fade).tolist())
    assert week.tolist() == pytest.approx([20 / 7, 30 / 7, 40 / 7])


@pytest.mark.parametrize("value", [0.0, -40.0, 1e9, -1e9, 1e-9])
def test_absurd_weeks_give_bounded_finite_numbers(value: float) -> None:
    week = np.full((1, 168), value)
    week[0, ::7] *= -3
    battery = physics.Battery(1.0)
    found = features.observe(battery, seen(week), np.ones(1), np.zeros(1))
    assert np.isfinite(found).all() and np.abs(found).max() <= features.BOUND


def test_the_gain_that_a_plan_sees_is_the_gain_of_its_forecast() -> None:
    """Flat at 30 but for the present at 100, which was 100 yesterday, too: sell now, buy later."""
    week = np.full((1, 168), 30.0)
    week[0, 23::24] = 100.0
    moments, battery = seen(week), physics.Battery(1.0)
    found = features.observe(battery, moments, np.array([2.0]), np.zeros(1))[0]
    sell, buy = np.sinh(found[-8:-5]) * 30, np.sinh(found[-4:-1]) * 30
    assert sell[0] == pytest.approx(90 - 27, rel=1e-3), "90 now, instead of 27 at any other hour"
    assert buy[0] == pytest.approx(-100 + 27, rel=1e-3)


def test_holes_are_filled_from_the_day_before_or_after() -> None:
    week = np.arange(28, dtype=float)
    week[[0, 9, 13, 27]] = np.nan
    found = features.mended(week, 4)
    assert found[[0, 9, 13, 27]].tolist() == [4, 5, 5, 23] and np.isfinite(found).all()
    week[1::4] = np.nan
    assert features.mended(week, 4)[1] == np.median(week[np.isfinite(week)])


def test_signals_are_in_training_deviations() -> None:
    scales = [{"name": "load", "mean": 10.0, "deviation": 2.0}]
    found = features.signals(np.array([[14.0], [1e9]]), np.array([[12.0], [0.0]]), scales)
    assert found.tolist() == [[2, 1], [10, 10]]
    assert features.signals(np.zeros((3, 0)), np.zeros((3, 0)), []).shape == (3, 0)


@pytest.mark.parametrize("factor", [0.001, 7.3, 1e4])
@pytest.mark.parametrize(
    "battery", [physics.Battery(0.5, ramp_mw=0.3), physics.Battery(0.5, 2.0, 3.0, 0.9, 0.8)]
)
def test_any_currency_looks_alike(battery: physics.Battery, factor: float) -> None:
    week, ones = windows(30, 48), np.ones(30)
    charge, before = np.linspace(0, battery.energy_mwh, 30), np.linspace(-0.2, 0.2, 30)
    both = [
        features.observe(
            battery,
            features.moments(battery, week * times, ones, ones, np.zeros((30, 0)), 40.0 * times),
            charge,
            before,
        )
        for times in (1.0, factor)
    ]
    assert both[1] == pytest.approx(both[0], abs=1e-3)
    assert both[0].shape == (30, features.width(battery, 48, 0))


def test_each_signal_and_a_ramp_are_further_columns() -> None:
    plain, ramp = physics.Battery(1.0), physics.Battery(1.0, ramp_mw=0.5)
    assert features.width(plain, 24, 2) == features.width(plain, 24, 0) + 4
    assert features.width(ramp, 24, 0) == features.width(plain, 24, 0) + 1
    found = features.observe(ramp, seen(windows(2)), np.ones(2), np.array([-0.25, 0.5]))
    assert found[:, -1].tolist() == [-0.25, 0.5]


def test_a_day_like_the_last_moves_nothing_and_flat_weeks_are_flat() -> None:
    week = np.stack([np.tile([1.0, 2, 3, 9], 7), np.full(28, 5.0)])
    yesterday, moved, usual = features.forecasts(week, 4).transpose(1, 0, 2)
    assert yesterday.tolist() == moved.tolist() == usual.tolist() == [[1, 2, 3], [5, 5, 5]]


@pytest.mark.parametrize("charge", [0.0, 1.3, 4.0])
@pytest.mark.parametrize("kind", ["zero", "one spike", "giant and nothing", "below zero"])
def test_no_week_breaks_the_bound_at_any_charge(kind: str, charge: float) -> None:
    week = np.zeros((1, 168))
    if kind == "one spike":
        week[0, -1] = 1e9
    elif kind == "giant and nothing":
        week[0, ::2] = -1e9
    elif kind == "below zero":
        week -= np.arange(1, 169)
    for battery in (physics.Battery(1.0), physics.Battery(1.0, 0.1, 40.0, ramp_mw=0.01)):
        ones, none = np.ones(1), np.zeros((1, 0))
        moments = features.moments(battery, week, ones, ones, none, 1e-6)
        found = features.observe(battery, moments, np.array([charge]), np.zeros(1))
        assert np.isfinite(found).all() and np.abs(found).max() <= features.BOUND


def test_full_power_is_what_the_charge_leaves_room_for() -> None:
    battery, charge = physics.Battery(1.0), np.array([3.5, 0.25, 4.0, 0.0])
    found = features.observe(battery, seen(windows(4)), charge, np.zeros(4))
    assert found[:, -9].tolist() == [0.75, -0.875, 1, -1], "charge, from -1 to 1"
    assert found[:, -5].tolist() == [-1, -0.25, -1, 0] and found[:, -1].tolist() == [0.5, 1, 0, 1]


def test_losses_and_wear_lower_the_gain_that_a_plan_sees() -> None:
    """Now 100, then 30 at every hour: half of the charge is sold now or with wear at 30 later."""
    week = np.full((1, 168), 30.0)
    week[0, 23::24] = 100.0
    battery = physics.Battery(1.0, 1.0, 2.0, 0.8, 0.5, degradation_per_mwh=10.0)
    ones, none = np.ones(1), np.zeros((1, 0))
    moments = features.moments(battery, week, ones, ones, none, 40.0)
    found = features.observe(battery, moments, np.ones(1), np.zeros(1))[0]
    sell, buy = np.sinh(found[-8:-5]) * 30, np.sinh(found[-4:-1]) * 30
    assert sell.tolist() == pytest.approx([0.5 * 90 - 0.5 * 20] * 3, rel=1e-3)
    assert buy.tolist() == pytest.approx([-100 / 0.8 + 0.5 * 20] * 3, rel=1e-3)
