"""A battery at the grid: what it may do in a step, what becomes of its charge, what it costs.

Plain numpy on any number of batteries at a time; the environment, the plans, the audit and the
guard rails of the service all use this file. Power in MW at the cells (above zero charges), charge
and energy in MWh, money in the currency of the prices. Losses lie between cells and grid.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from shared import params

Array = np.ndarray
TOLERANCE = 1e-9  # MW and MWh, for sums of floats


class BatteryParams(params.Params):
    """Physical part of section `env` of params.yaml; the explanations stand there."""

    power_mw: PositiveFloat
    energy_mwh: PositiveFloat
    charge_efficiency: float = Field(gt=0, le=1)
    discharge_efficiency: float = Field(gt=0, le=1)
    degradation_per_mwh: NonNegativeFloat
    grid_import_mw: PositiveFloat | None
    grid_export_mw: PositiveFloat | None
    ramp_mw: PositiveFloat | None


@dataclass(frozen=True)
class Battery:
    """The parameters with the length of a step."""

    step_hours: float
    power_mw: float = 1.0
    energy_mwh: float = 4.0
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 0.9
    degradation_per_mwh: float = 0.0
    grid_import_mw: float | None = None
    grid_export_mw: float | None = None
    ramp_mw: float | None = None

    @property
    def most_in(self) -> float:
        """MW into the cells at most, by the cells' own limit and that of the grid."""
        limit = self.grid_import_mw
        return min(self.power_mw, np.inf if limit is None else limit * self.charge_efficiency)

    @property
    def most_out(self) -> float:
        """MW out of the cells at most."""
        limit = self.grid_export_mw
        return min(self.power_mw, np.inf if limit is None else limit / self.discharge_efficiency)


class Moved(NamedTuple):
    """What a step did: charge afterwards, MWh bought and sold at the grid."""

    charge: Array
    bought: Array
    sold: Array


def limits(battery: Battery, charge: Array, before: Array) -> tuple[Array, Array]:
    """Lowest and highest power that is feasible now; `before` is the power of the last step.

    With a limited ramp, power stays so low that it can end before the cells are empty or full.
    Where a state from elsewhere contradicts that, the charge wins: nothing is emptier than empty.
    """
    out, room = charge / battery.step_hours, (battery.energy_mwh - charge) / battery.step_hours
    if battery.ramp_mw is None:
        return -np.minimum(battery.most_out, out), np.minimum(battery.most_in, room)
    low = -np.minimum(battery.most_out, braking(out, battery))
    high = np.minimum(battery.most_in, braking(room, battery))
    low, high = (
        np.clip(before + change, low, high) for change in (-battery.ramp_mw, battery.ramp_mw)
    )
    return np.maximum(low, -out), np.minimum(high, room)


def braking(steps_left: Array, battery: Battery) -> Array:
    """Highest power from which a falling ramp ends within the energy left.

    steps_left: [n] energy over the length of a step, in MW. Falling from p by r a step takes the
    sum of p - k r, the largest of (n + 1) p - r n (n + 1) / 2 over all n.
    """
    ramp = battery.ramp_mw or np.inf
    number = np.arange(int(np.ceil(battery.power_mw / ramp)) + 1)[:, None]
    return ((steps_left + ramp * number * (number + 1) / 2) / (number + 1)).min(axis=0)


def power(battery: Battery, share: Array, charge: Array, before: Array) -> Array:
    """The power that an action asks for: -1 as much out as is feasible now, 1 as much in."""
    low, high = limits(battery, charge, before)
    asked = np.where(share > 0, share * np.maximum(high, 0), share * np.maximum(-low, 0))
    return np.minimum(np.maximum(asked, low), high)  # a quarter of np.clip's time for one


def move(battery: Battery, charge: Array, power: Array) -> Moved:
    """One step at feasible power. What the cells take in is stored, what they give out is gone."""
    energy = power * battery.step_hours
    after = np.minimum(np.maximum(charge + energy, 0), battery.energy_mwh)  # rounding only
    bought = np.maximum(energy, 0) / battery.charge_efficiency
    return Moved(after, bought, np.maximum(-energy, 0) * battery.discharge_efficiency)


def money(battery: Battery, price: Array, moved: Moved) -> Array:
    """What a step earns; degradation is paid per MWh sold."""
    return price * (moved.sold - moved.bought) - battery.degradation_per_mwh * moved.sold


def violations(battery: Battery, charge: Array, power: Array) -> int:
    """Steps of a trajectory that break a limit, from its own numbers: an audit, not the simulator.

    charge: [t + 1] before each step and after the last; power: [t], from rest.
    """
    wrong = (charge[:-1] < -TOLERANCE) | (charge[:-1] > battery.energy_mwh + TOLERANCE)
    wrong |= np.abs(charge[1:] - charge[:-1] - power * battery.step_hours) > 1e-6
    wrong |= (power > battery.most_in + TOLERANCE) | (power < -battery.most_out - TOLERANCE)
    if battery.ramp_mw is not None:
        wrong |= np.abs(np.diff(power, prepend=0.0)) > battery.ramp_mw + 1e-6
    return int(wrong.sum())


def build(values: dict[str, Any], step_hours: float) -> Battery:
    """From section `env` of params.yaml or from model.json."""
    physical = {name: values[name] for name in BatteryParams.model_fields}
    return Battery(step_hours, **physical)
