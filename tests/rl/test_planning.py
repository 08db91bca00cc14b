"""What plans think a charge is worth: never more than the limits of cells and grid allow."""

from typing import Any

import numpy as np
import optimum
import planning
import pytest
from battery import Battery
from hypothesis import given, settings

from rl import markets
from rl.test_optimum import batteries, prices

PRICES = np.abs(markets.prices(30))
FREE = Battery(1.0)


@given(batteries, prices)
@settings(max_examples=100, deadline=None)
def test_no_plan_is_above_the_optimum(battery: Battery, price: np.ndarray) -> None:
    value = planning.path(battery, price)[0]
    for worth, charge in ((value[0], 0.0), (value[-1], battery.energy_mwh)):
        best = optimum.linear_program(battery, price, charge)
        assert worth <= best + 1e-5 + 1e-7 * abs(best)


@pytest.mark.parametrize(
    "limits",
    [
        {"grid_import_mw": 0.5},
        {"grid_export_mw": 0.45},
        {"grid_import_mw": 0.25, "grid_export_mw": 0.45},
        {"grid_import_mw": 1.0, "grid_export_mw": 0.9},  # what the cells allow anyway
    ],
    ids=str,
)
def test_a_step_within_limits_may_be_several_levels_in_one_of_the_directions(limits: Any) -> None:
    battery = Battery(1.0, **limits)
    found = planning.path(battery, PRICES)[0, 0]
    assert found == pytest.approx(optimum.linear_program(battery, PRICES), rel=1e-9)
    assert found <= planning.path(FREE, PRICES)[0, 0] + 1e-6


@pytest.mark.parametrize("grid_import_mw", [0.13, 0.7, None])
@pytest.mark.parametrize("grid_export_mw", [0.3, 0.77, None])
@pytest.mark.parametrize("energy_mwh", [1.7, 4.0])
def test_between_levels_little_is_lost(
    energy_mwh: float, grid_export_mw: float | None, grid_import_mw: float | None
) -> None:
    limits = {"grid_import_mw": grid_import_mw, "grid_export_mw": grid_export_mw}
    battery = Battery(1.0, energy_mwh=energy_mwh, **limits)
    best = optimum.linear_program(battery, PRICES)
    assert 0.97 * best < planning.path(battery, PRICES)[0, 0] <= best + 1e-6


def test_one_and_a_half_levels_a_step_by_hand() -> None:
    """3 MWh are bought at 10, at most 1.5 in each of two steps, and sold at 40 by the MWh."""
    battery = Battery(1.0, 1.5, 3.0, discharge_efficiency=1.0, grid_export_mw=1.0)
    assert planning.levels(battery) == 3 and planning.beyond_one(battery) == [0.5, 0]
    found = planning.path(battery, np.array([10.0, 10, 40, 40, 40]))
    assert found[2].tolist() == [0, 40, 80, 120]
    assert found[1].tolist() == [45, 85, 110, 120], "1.5 MWh are worth 60 and cost 15"
    assert found[0].tolist() == [82.5, 100, 110, 120], "90, if 1.5 MWh were a level"
