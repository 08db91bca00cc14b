"""What perfect foresight would earn, found in two ways that must agree: an upper bound for all.

Both allow a step to be shared between charging and discharging, which only pays where prices are
below zero; without such prices the bound is what a battery that knew all prices would do.
"""

from bisect import insort

import numpy as np
from battery import Battery
from scipy import sparse
from scipy.optimize import linprog

Array = np.ndarray
Segment = tuple[float, float]  # minus the worth of a MWh, and for how many MWh it holds


def linear_program(battery: Battery, price: Array, charge: float = 0.0) -> float:
    """Highest profit over [t] known prices from `charge` MWh, by HiGHS; ramp limits are kept."""
    number, step = len(price), battery.step_hours
    one = sparse.eye(number)
    change = one - sparse.eye(number, k=-1)
    energy = sparse.hstack([-step * one, step * one, change])  # unknowns: MW in, MW out, MWh
    begin = np.zeros(number)
    begin[0] = charge
    shared = sparse.hstack([one / battery.most_in, one / battery.most_out, 0 * one])
    upper, bound = [shared], [np.ones(number)]
    if battery.ramp_mw is not None and number > 1:
        steps = sparse.hstack([change, -change, 0 * one]).tocsr()[1:]
        upper, bound = [*upper, steps, -steps], [*bound, np.full(2 * (number - 1), battery.ramp_mw)]
    cost = price * step / battery.charge_efficiency
    gain = (price - battery.degradation_per_mwh) * step * battery.discharge_efficiency
    result = linprog(
        np.concatenate([cost, -gain, np.zeros(number)]),
        A_ub=sparse.vstack(upper),
        b_ub=np.concatenate(bound),
        A_eq=energy,
        b_eq=begin,
        bounds=[(0, battery.most_in)] * number
        + [(0, battery.most_out)] * number
        + [(0, battery.energy_mwh)] * number,
        method="highs",
    )
    if not result.success:
        raise SystemExit(f"evaluate: the optimum was not found: {result.message}")
    return float(-result.fun)


def dynamic_program(battery: Battery, price: Array, charge: float = 0.0) -> float:
    """The same by going backwards, exactly: worth as a concave function of the charge.

    It is kept as its slopes, the worth of each further MWh, falling from empty to full. A step adds
    the two slopes of its own trade in order and cuts what would lie below empty and above full.
    Ramp limits are not known to it.
    """
    empty = 0.0  # worth of an empty battery
    slopes: list[Segment] = [(0.0, battery.energy_mwh)]
    most_in, most_out = battery.most_in * battery.step_hours, battery.most_out * battery.step_hours
    for now in price[::-1].tolist():
        buy = now / battery.charge_efficiency
        sell = (now - battery.degradation_per_mwh) * battery.discharge_efficiency
        empty -= buy * most_in
        if sell <= buy:
            trade = [(-buy, most_in), (-sell, most_out)]
        else:  # paid to take energy: a mixture of both lies above doing nothing
            mean = (buy * most_in + sell * most_out) / (most_in + most_out)
            trade = [(-mean, most_in + most_out)]
        for segment in trade:
            insort(slopes, segment)
        cut, slopes = split(slopes, most_in)
        empty += sum(-worth * length for worth, length in cut)
        slopes, _ = split(slopes, battery.energy_mwh)
    below, _ = split(slopes, charge)
    return float(empty + sum(-worth * length for worth, length in below))


def split(slopes: list[Segment], length: float) -> tuple[list[Segment], list[Segment]]:
    """The slopes of the first `length` MWh, and the others."""
    first: list[Segment] = []
    for i, (worth, long) in enumerate(slopes):
        if long >= length:
            rest = [(worth, long - length)] if long > length else []
            return first + ([(worth, length)] if length > 0 else []), rest + slopes[i + 1 :]
        first.append((worth, long))
        length -= long
    return first, []
