"""Perfect foresight by two programs, which agree, and which nobody beats."""

import battery as physics
import numpy as np
import optimum
import planning
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl import markets

batteries = st.builds(
    physics.Battery,
    step_hours=st.sampled_from([0.5, 1.0]),
    power_mw=st.floats(0.2, 3),
    energy_mwh=st.floats(0.5, 8),
    charge_efficiency=st.floats(0.6, 1),
    discharge_efficiency=st.floats(0.6, 1),
    degradation_per_mwh=st.floats(0, 20),
    grid_import_mw=st.none() | st.floats(0.1, 3),
    grid_export_mw=st.none() | st.floats(0.1, 3),
)
prices = st.lists(st.floats(-50, 300), min_size=1, max_size=40).map(np.array)


@given(batteries, prices, st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_linear_and_dynamic_program_agree(
    battery: physics.Battery, price: np.ndarray, full: float
) -> None:
    charge = full * battery.energy_mwh
    one = optimum.linear_program(battery, price, charge)
    other = optimum.dynamic_program(battery, price, charge)
    assert one == pytest.approx(other, abs=1e-5, rel=1e-7)


@given(batteries, prices, st.lists(st.floats(-1, 1), min_size=40, max_size=40))
@settings(max_examples=100, deadline=None)
def test_nobody_earns_more(
    battery: physics.Battery, price: np.ndarray, wishes: list[float]
) -> None:
    charge, before, earned = np.zeros(1), np.zeros(1), 0.0
    for now, wish in zip(price, wishes, strict=False):
        before = physics.power(battery, np.array([wish]), charge, before)
        moved = physics.move(battery, charge, before)
        earned += float(physics.money(battery, np.array([now]), moved)[0])
        charge = moved.charge
    assert earned <= optimum.dynamic_program(battery, price) + 1e-6


def test_levels_are_exact_where_they_are_whole_steps() -> None:
    battery, price = physics.Battery(1.0), np.abs(markets.prices(30))
    found = planning.path(battery, price)[0, 0]
    assert found == pytest.approx(optimum.linear_program(battery, price), rel=1e-9)


def test_half_a_battery_twice_as_often_is_the_same_by_levels() -> None:
    hourly, halves = physics.Battery(1.0), physics.Battery(0.5)
    assert planning.levels(hourly) == 4 and planning.levels(halves) == 8
    price = np.abs(markets.prices(5))
    one = optimum.linear_program(hourly, price)
    assert optimum.linear_program(halves, np.repeat(price, 2)) == pytest.approx(one, rel=1e-9)


def test_a_ramp_costs_money() -> None:
    price = np.array([10.0, 100, 10, 100, 10, 100])
    free = optimum.linear_program(physics.Battery(1.0), price)
    slow = optimum.linear_program(physics.Battery(1.0, ramp_mw=0.5), price)
    assert 0 < slow < free


def test_worth_is_linear_between_levels() -> None:
    battery = physics.Battery(1.0)
    value = np.array([[0.0, 10, 18, 24, 28]])
    at = [planning.worth(battery, value, np.array([charge]))[0] for charge in (0, 0.5, 1, 3.5, 4)]
    assert at == pytest.approx([0, 5, 10, 26, 28])


def test_several_charges_of_each_battery_at_once_are_worth_what_each_is_alone() -> None:
    battery, rng = physics.Battery(1.0), np.random.default_rng(0)
    value, charges = rng.normal(size=(5, 3, 5)), rng.uniform(-1, 5, (2, 5))
    each = [planning.worth(battery, value, charge) for charge in charges]
    assert np.array_equal(planning.worth(battery, value, charges), each)
