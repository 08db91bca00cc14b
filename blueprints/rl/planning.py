"""What stored energy is worth when prices are known or forecast: dynamic programming.

The charge is cut into levels of at most one step at the power that cells and grid allow. With
those, the plan is exact where a step, in and out, moves a whole number of levels (the sample: one
of four). Elsewhere what lies between two levels is a mixture of both, and all is worth a little
less than it could be, never more.
"""

from collections.abc import Iterator

import numpy as np
from battery import Battery

Array = np.ndarray


def levels(battery: Battery) -> int:
    """Number of steps from empty to full, or back where that is slower; there is one level more."""
    slower = min(battery.most_in, battery.most_out) * battery.step_hours
    return int(np.ceil(battery.energy_mwh / slower - 1e-9))


def beyond_one(battery: Battery) -> list[float]:
    """How many levels more than one a step at full power moves, in and out; often none."""
    number = levels(battery)
    step = battery.step_hours * number / battery.energy_mwh
    powers = battery.most_in, battery.most_out
    return [round(min(power * step, number) - 1, 9) for power in powers]


def trades(battery: Battery, price: Array) -> tuple[Array, Array]:
    """What a level more costs and a level less brings, at each price."""
    unit = battery.energy_mwh / levels(battery)
    buy = price * (unit / battery.charge_efficiency)
    return buy, (price - battery.degradation_per_mwh) * (unit * battery.discharge_efficiency)


def backwards(battery: Battery, prices: Array) -> Iterator[Array]:
    """Worth of each level of charge before each of [n, steps] prices, from the last step on.

    Gives the same [n, levels + 1] again, changed: 0 after the last step is where it starts. Without
    new arrays, for a decision has a few dozen steps of a few numbers each.
    """
    number = levels(battery) + 1
    room = np.full((len(prices), number + 2), -np.inf)  # a level beyond empty and full: worth less
    below, value, above = room[:, :-2], room[:, 1:-1], room[:, 2:]
    value[:] = 0
    less, more = np.empty_like(value), np.empty_like(value)
    further_in, further_out = beyond_one(battery)
    steps = (part.T[::-1, :, None] for part in trades(battery, prices))
    for buy, sell in zip(*steps, strict=True):
        np.subtract(above, buy, out=more)
        np.add(below, sell, out=less)
        if further_in:
            further(more, -buy, further_in)
        if further_out:
            further(less[:, ::-1], sell, further_out)
        np.maximum(more, less, out=more)
        np.maximum(value, more, out=value)
        yield value


def further(worth: Array, gain: Array, number: float) -> None:
    """Lets a step go on to the right, by up to so many levels, where that is worth more; in place.

    worth: [n, levels + 1] of each level, if the step moves by one; gain: [n, 1] of each one more.
    """
    while number > 0:
        best = worth.copy()
        np.maximum(worth[:, :-1], worth[:, 1:] + gain, out=best[:, :-1])
        worth[:] = best if number >= 1 else (1 - number) * worth + number * best
        number -= 1


def values(battery: Battery, prices: Array) -> Array:
    """Worth of each level of charge before [n, steps] prices: [n, levels + 1]; 0 after the last."""
    value = np.zeros((len(prices), levels(battery) + 1))
    for value in backwards(battery, prices):  # noqa: B007 (the last one counts)
        pass
    return value


def path(battery: Battery, prices: Array) -> Array:
    """Worth of each level before every step of one price path: [steps + 1, levels + 1]."""
    found = np.zeros((len(prices) + 1, levels(battery) + 1))
    for step, value in enumerate(backwards(battery, prices[None]), 2):
        found[-step] = value[0]
    return found


def worth(battery: Battery, value: Array, charge: Array) -> Array:
    """[n, ..., levels + 1] values at charges [n]: linear between levels, [n, ...]; at [m, n], so
    many at once, [m, n, ...]."""
    number = levels(battery)
    place = np.minimum(np.maximum(charge / battery.energy_mwh, 0), 1) * number
    low = np.minimum(place.astype(int), number - 1)
    rows = np.arange(len(value))
    below, above = value[rows, ..., low], value[rows, ..., low + 1]
    share = (place - low).reshape(*place.shape, *[1] * (value.ndim - 2))
    return below + share * (above - below)
