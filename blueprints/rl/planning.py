"""What stored energy is worth when prices are known or forecast: dynamic programming.

The charge is cut into levels of at most one step at full power. With those, the plan is exact where
the battery holds a whole number of full steps (the sample: four), and nearly so elsewhere.
"""

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


def backwards(buy: Array, sell: Array, value: Array) -> Array:
    """One step back: [n, 1] costs and gains, [n, levels + 1] values after the step -> before it."""
    best = value.copy()
    np.maximum(best[:, :-1], value[:, 1:] - buy, out=best[:, :-1])
    np.maximum(best[:, 1:], value[:, :-1] + sell, out=best[:, 1:])
    return best


def values(battery: Battery, prices: Array) -> Array:
    """Worth of each level of charge before [n, steps] prices: [n, levels + 1]; 0 after the last."""
    value = np.zeros((len(prices), levels(battery) + 1))
    buy, sell = trades(battery, prices)
    for step in range(prices.shape[1] - 1, -1, -1):
        value = backwards(buy[:, step : step + 1], sell[:, step : step + 1], value)
    return value


def path(battery: Battery, prices: Array) -> Array:
    """Worth of each level before every step of one price path: [steps + 1, levels + 1]."""
    found = np.zeros((len(prices) + 1, levels(battery) + 1))
    buy, sell = (part[:, None, None] for part in trades(battery, prices))
    for step in range(len(prices) - 1, -1, -1):
        found[step] = backwards(buy[step], sell[step], found[step + 1 : step + 2])[0]
    return found


def worth(battery: Battery, value: Array, charge: Array) -> Array:
    """[n, ..., levels + 1] values at the charges [n]: linear between levels, [n, ...]."""
    number = levels(battery)
    place = np.clip(charge / battery.energy_mwh, 0, 1) * number
    low = np.minimum(place.astype(int), number - 1)
    rows = np.arange(len(value))
    below, above = value[rows, ..., low], value[rows, ..., low + 1]
    share = (place - low).reshape(-1, *[1] * (value.ndim - 2))
    return below + share * (above - below)
