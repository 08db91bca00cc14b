"""Energy and money are conserved and limits kept, whatever the battery and the wishes."""

import battery as physics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

size = st.floats(0.1, 20)
limit = st.none() | st.floats(0.05, 30)
batteries = st.builds(
    physics.Battery,
    step_hours=st.sampled_from([0.25, 0.5, 1.0]),
    power_mw=size,
    energy_mwh=size,
    charge_efficiency=st.floats(0.5, 1),
    discharge_efficiency=st.floats(0.5, 1),
    degradation_per_mwh=st.floats(0, 30),
    grid_import_mw=limit,
    grid_export_mw=limit,
)
shares = st.lists(st.floats(-3, 3), min_size=1, max_size=60)


def run(battery: physics.Battery, wishes: list[float], prices: np.ndarray) -> tuple:
    charge, power, before = [0.0], [], np.zeros(1)
    bought = sold = earned = 0.0
    for wish, price in zip(wishes, prices, strict=True):
        here = np.array(charge[-1:])
        before = physics.power(battery, np.array([wish]), here, before)
        moved = physics.move(battery, here, before)
        earned += float(physics.money(battery, np.array([price]), moved)[0])
        bought, sold = bought + float(moved.bought[0]), sold + float(moved.sold[0])
        charge.append(float(moved.charge[0]))
        power.append(float(before[0]))
    return np.array(charge), np.array(power), bought, sold, earned


@given(batteries, shares, st.floats(-100, 500))
@settings(max_examples=150, deadline=None)
def test_energy_and_money_are_conserved(
    battery: physics.Battery, wishes: list[float], price: float
) -> None:
    charge, power, bought, sold, earned = run(battery, wishes, np.full(len(wishes), price))
    inside = bought * battery.charge_efficiency - sold / battery.discharge_efficiency
    assert np.isclose(charge[-1], inside, atol=1e-6)
    assert np.isclose(earned, price * (sold - bought) - battery.degradation_per_mwh * sold)
    assert physics.violations(battery, charge, power) == 0


@given(batteries, shares)
@settings(max_examples=100, deadline=None)
def test_the_grid_never_carries_more_than_its_limits(
    battery: physics.Battery, wishes: list[float]
) -> None:
    charge, _, _, _, _ = run(battery, wishes, np.ones(len(wishes)))
    change = np.diff(charge) / battery.step_hours
    drawn = np.maximum(change, 0) / battery.charge_efficiency
    given_out = np.maximum(-change, 0) * battery.discharge_efficiency
    assert drawn.max() <= (battery.grid_import_mw or np.inf) + 1e-6
    assert given_out.max() <= (battery.grid_export_mw or np.inf) + 1e-6


@given(batteries, shares, st.floats(0.1, 5))
@settings(max_examples=100, deadline=None)
def test_the_ramp_is_kept_by_braking_before_the_cells_are_empty_or_full(
    battery: physics.Battery, wishes: list[float], ramp: float
) -> None:
    battery = physics.Battery(**{**vars(battery), "ramp_mw": ramp})
    charge, power, _, _, _ = run(battery, wishes, np.ones(len(wishes)))
    assert np.abs(np.diff(power, prepend=0.0)).max() <= ramp + 1e-6
    assert physics.violations(battery, charge, power) == 0


def test_braking_takes_just_the_energy_that_is_left() -> None:
    battery = physics.Battery(1.0, power_mw=3.0, energy_mwh=6.0, ramp_mw=1.0)
    charge, before = np.array([6.0, 5.9, 1.0, 0.5]), np.full(4, -3.0)
    low, _ = physics.limits(battery, charge, before)
    assert low.tolist() == [-3.0, pytest.approx(-8.9 / 3), -1.0, -0.5], "3 + 2 + 1 = 6"


def test_a_wish_is_a_share_of_what_is_feasible() -> None:
    battery = physics.Battery(1.0)
    charge, before = np.array([0.0, 4.0, 3.5, 2.0]), np.zeros(4)
    assert physics.power(battery, np.ones(4), charge, before).tolist() == [1, 0, 0.5, 1]
    assert physics.power(battery, -np.ones(4), charge, before).tolist() == [0, -1, -1, -1]
    assert physics.power(battery, np.full(4, 0.5), charge, before).tolist() == [0.5, 0, 0.25, 0.5]


def test_the_audit_sees_each_broken_limit() -> None:
    battery = physics.Battery(1.0, ramp_mw=1.0)
    good = np.array([0.0, 1.0, 0.0]), np.array([1.0, -1.0])
    assert physics.violations(physics.Battery(1.0), *good) == 0
    assert physics.violations(battery, *good) == 1, "from 1 to -1 is a ramp of 2"
    assert physics.violations(battery, np.array([0.0, 2.0]), np.array([2.0])) == 1
    assert physics.violations(battery, np.array([0.0, 1.0]), np.array([0.5])) == 1
    assert physics.violations(battery, np.array([5.0, 5.0]), np.array([0.0])) == 1
