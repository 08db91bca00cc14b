"""Observations: what the policy sees of the prices up to now and of the battery.

One code for training, evaluation and service. All is relative to the present price and to the
usual price of the week before, so that a policy learnt at 30 $/MWh reads 60 $/MWh alike. A window
is the week up to and including the present step, oldest first.
"""

import functools
from typing import Any, NamedTuple

import battery as physics
import numpy as np
import planning
from battery import Battery

Array = np.ndarray
DAYS = 7
PLANS = ("yesterday", "moved", "week")  # forecasts of the next day that plans are made with
BOUND = 30.0  # of an observation's numbers
FADE_HOURS = 6.0  # how long the present's distance from yesterday is expected to last


class Moments(NamedTuple):
    """What is seen at n steps, whatever the charge: `fixed` [n, columns] of the observation,
    `value` [n, plans, levels + 1] of the charge after the step, price and unit [n]."""

    fixed: Array
    value: Array
    price: Array
    unit: Array


def forecasts(windows: Array, day: int) -> Array:
    """[n, plans, day - 1] prices expected after the present; windows: [n, 7 * day]."""
    present, same = windows[:, -1:], windows[:, -day - 1 : -day]
    found = np.empty((len(windows), len(PLANS), day - 1))
    yesterday, moved, week = found[:, 0], found[:, 1], found[:, 2]
    yesterday[:] = windows[:, -day:-1]
    np.add(yesterday, (present - same) * fading(day), out=moved)
    np.add.reduce(windows.reshape(len(windows), DAYS, day)[:, :, :-1], axis=1, out=week)
    week /= DAYS
    return found


@functools.cache
def fading(day: int) -> Array:
    """[day - 1] what is left, at each step ahead, of the present's distance from yesterday."""
    return np.asarray(np.exp(-np.arange(1, day) * 24 / day / FADE_HOURS))


def mended(window: Array, day: int) -> Array:
    """A week [7 * day] with its holes filled: as a day before, else as a day after, else usual."""
    days = window.reshape(DAYS, day).copy()
    for order in (range(1, DAYS), range(DAYS - 2, -1, -1)):
        for i in order:
            other = days[i - 1] if order.step > 0 else days[i + 1]
            days[i] = np.where(np.isfinite(days[i]), days[i], other)
    usual = np.median(window[np.isfinite(window)])
    return np.where(np.isfinite(days), days, usual).reshape(-1)


def middle(values: Array) -> Array:
    """Medians of the rows [n, columns], NaN left out, in a fifth of np.median's time for one."""
    if np.isnan(values).any():
        return np.asarray(np.nanmedian(values, axis=1))
    ordered, half = np.sort(values, axis=1), values.shape[1] // 2
    return np.asarray((ordered[:, half] + ordered[:, -half - 1]) / 2)


@functools.cache
def knots(number: int) -> Array:
    """Four of `number` levels, or all of fewer."""
    return np.linspace(0, number - 1, min(number, 4)).astype(int)


def squashed(values: Array, unit: Array) -> Array:
    """Differences in units of the usual price; spikes of hundreds of units become single digits."""
    return np.arcsinh(values / unit)


def moments(
    battery: Battery, windows: Array, hour: Array, weekend: Array, signals: Array, usual: float
) -> Moments:
    """windows: [n, 7 * day] prices; hour: [n] local, 0 to 24; signals: [n, 2 * columns], scaled.

    usual: the typical price of the training data, which bounds the unit from below.
    """
    day = windows.shape[1] // DAYS
    price = windows[:, -1]
    unit = np.maximum(middle(np.abs(windows)), usual / 6)
    expected = forecasts(windows, day)
    flat = expected.reshape(-1, day - 1)
    value = planning.values(battery, flat).reshape(len(windows), len(PLANS), -1)
    marginal = np.diff(value, axis=2) / (battery.energy_mwh / (value.shape[2] - 1))
    most = knots(marginal.shape[2])
    apart, here = unit[:, None], price[:, None]
    parts = [
        squashed(windows[:, -day - 1 : -1][:, ::-1] - here, apart),
        squashed((marginal[:, :, most] - here[..., None]).reshape(len(windows), -1), apart),
        squashed(here, apart),
        np.log(unit / usual)[:, None],
        np.sin(hour * np.pi / 12)[:, None],
        np.cos(hour * np.pi / 12)[:, None],
        weekend[:, None],
        signals,
    ]
    fixed = np.concatenate(parts, axis=1).astype(np.float32)
    return Moments(fixed, value.astype(np.float32), price, unit)


def observe(battery: Battery, seen: Moments, charge: Array, before: Array) -> Array:
    """[n, columns] float32: `fixed`, the charge, and what each plan thinks of full power now.

    charge: [n] MWh; before: [n] MW of the step before (matters only where the ramp is limited).
    """
    extremes = np.stack(physics.limits(battery, charge, before))
    moved = physics.move(battery, charge, extremes)
    charges = np.concatenate([charge[None], moved.charge])
    worth = planning.worth(battery, seen.value, charges)
    money = physics.money(battery, seen.price, moved)[..., None]
    size = (seen.unit * battery.power_mw * battery.step_hours)[:, None]
    gains = np.arcsinh((money + worth[1:] - worth[0]) / size)
    powers = (extremes / battery.power_mw)[..., None]
    parts = [seen.fixed, (charge / battery.energy_mwh)[:, None] * 2 - 1]
    parts += [gains[0], powers[0], gains[1], powers[1]]
    if battery.ramp_mw is not None:
        parts.append((before / battery.power_mw)[:, None])
    both = np.concatenate(parts, axis=1)
    return np.minimum(np.maximum(both, -BOUND), BOUND).astype(np.float32)


def width(battery: Battery, day: int, signals: int) -> int:
    """Columns of an observation."""
    one = np.zeros(1)
    seen = moments(battery, np.ones((1, DAYS * day)), one, one, np.zeros((1, 2 * signals)), 1.0)
    return observe(battery, seen, one, one).shape[1]


def signals(table: Array, ago: Array, scales: list[dict[str, Any]]) -> Array:
    """[n, 2 * columns]: present values and their change in a day, in training deviations."""
    if not scales:
        return np.zeros((len(table), 0))
    mean = np.array([scale["mean"] for scale in scales])
    deviation = np.array([scale["deviation"] for scale in scales])
    both = np.concatenate([(table - mean) / deviation, (table - ago) / deviation], axis=1)
    return np.clip(both, -10, 10)
