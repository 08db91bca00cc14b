"""What stored energy is worth when prices are known or forecast: dynamic programming.

The charge is cut into levels of at most one step at full power. With those, the plan is exact where
the battery holds a whole number of full steps (the sample: four), and nearly so elsewhere.
"""

from collections.abc import Iterator

import numpy as np
from battery import Battery

Array = np.ndarray


def levels(battery: Battery) -> int:
    """Number of steps from empty to full; there is one level more."""
    return int(np.ceil(battery.energy_mwh / (battery.power_mw * battery.step_hours) - 1e-9))


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
    steps = (part.T[::-1, :, None] for part in trades(battery, prices))
    for buy, sell in zip(*steps, strict=True):
        np.subtract(above, buy, out=more)
        np.add(below, sell, out=less)
        np.maximum(more, less, out=more)
        np.maximum(value, more, out=value)
        yield value


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
    """[n, ..., levels + 1] values at the charges [n]: linear between levels, [n, ...]."""
    number = levels(battery)
    place = np.minimum(np.maximum(charge / battery.energy_mwh, 0), 1) * number
    low = np.minimum(place.astype(int), number - 1)
    rows = np.arange(len(value))
    below, above = value[rows, ..., low], value[rows, ..., low + 1]
    share = (place - low).reshape(-1, *[1] * (value.ndim - 2))
    return below + share * (above - below)
