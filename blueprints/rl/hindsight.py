"""What a battery's decisions were worth, once the prices are known: day by day, beside others.

A decision loses what the charge before it was worth to one who knows the coming prices, less what
the charge after it is worth, less what it earned. Summed up that is the distance from perfect
foresight, and no day owes another for the charge it leaves.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import battery as physics
import numpy as np
import planning
from battery import Battery

from shared.drift import Estimate

Array = np.ndarray
Rows = list[dict[str, Any]]
SHARES = np.array([-1.0, 0.0, 1.0])  # as much out as possible, nothing, as much in as possible


class Days(NamedTuple):
    """[n] money of each day: by the decisions, by perfect foresight, by re-planning."""

    earned: Array
    optimum: Array
    replanned: Array


def in_order(rows: Rows, day: int) -> Iterator[Rows]:
    """Unbroken runs of steps, by time; of several rows for a step the last one counts.

    rows: of the request log, with `timestamp`; day: steps of one.
    """
    seconds = 86400 / day
    by_step = {datetime.fromisoformat(row["timestamp"]).timestamp() // seconds: row for row in rows}
    steps = np.array(sorted(by_step))
    for part in np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1):
        yield [by_step[step] for step in part]


def of_window(battery: Battery, day: int, rows: Rows) -> Days:
    """The days of labelled rows in any order; day: steps of one."""
    parts = [days(battery, day, run) for run in in_order(rows, day)]
    return Days(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def days(battery: Battery, day: int, rows: Rows) -> Days:
    """Of a run of labelled rows: its whole days but the first, which only tells what to expect.

    A limited ramp is unknown to the optimum here, which then is above what is possible.
    """
    number = len(rows) // day * day
    if number < 2 * day:
        return Days(*[np.zeros(0)] * 3)
    prices = np.array([row["truth"] for row in rows[:number]], float)
    power, after = (
        np.array([row[name] for row in rows[day:number]], float)
        for name in ("power_mw", "charge_after_mwh")
    )
    before = np.clip(after - power * battery.step_hours, 0, battery.energy_mwh)
    worth = planning.path(battery, prices[day:])
    earned, lost = _earned_and_lost(battery, prices[day:], worth, before, power)
    plan = replanned(battery, day, prices, before[0])
    _, lost_by_plan = _earned_and_lost(battery, prices[day:], worth, *plan)
    found = (earned, earned + lost, earned + lost - lost_by_plan)
    return Days(*(values.reshape(-1, day).sum(axis=1) for values in found))


def _earned_and_lost(
    battery: Battery, prices: Array, worth: Array, before: Array, power: Array
) -> tuple[Array, Array]:
    moved = physics.move(battery, before, power)
    earned = physics.money(battery, prices, moved)
    left = planning.worth(battery, worth[1:], moved.charge)
    return earned, planning.worth(battery, worth[:-1], before) - left - earned


def replanned(battery: Battery, day: int, prices: Array, charge: float) -> tuple[Array, Array]:
    """Charge before and power of each step after the first day, planned anew each time with the
    prices of the day before as the forecast: baselines.replan, without a history beside it."""
    number = len(prices) - day
    expected = np.lib.stride_tricks.sliding_window_view(prices, day - 1)[1 : number + 1]
    values = planning.values(battery, expected)
    before, power, last = np.full(number, charge), np.zeros(number), 0.0
    for i, value in enumerate(values):
        here = np.repeat(charge, 3)
        asked = physics.power(battery, SHARES, here, np.repeat(last, 3))
        moved = physics.move(battery, here, asked)
        ahead = planning.worth(battery, np.repeat(value[None], 3, axis=0), moved.charge)
        gain = physics.money(battery, prices[day + i], moved) + ahead
        best = int(np.lexsort((np.abs(SHARES), -gain))[0])  # of equals the one that does nothing
        before[i], power[i] = charge, asked[best]
        charge, last = moved.charge[best], asked[best]
    return before, power


def jackknife(measure: Callable[[Days], float], found: Days) -> Estimate:
    """A measure of sums over days, and its standard error by leaving out one day after the other.

    Where fewer than two days are whole, it is not known.
    """
    number, whole = len(found.earned), Days(*(values.sum() for values in found))
    if number < 2:
        return Estimate(float("nan"))
    without = [
        measure(Days(*(all - one for all, one in zip(whole, row, strict=True))))
        for row in zip(*found, strict=True)
    ]
    return Estimate(measure(whole), float(np.sqrt((number - 1) * np.var(without))))


def share_of_optimum(sums: Days) -> float:
    return float(sums.earned / sums.optimum) if sums.optimum > 0 else float("nan")


def over_baseline(sums: Days) -> float:
    """Profit over that of re-planning. Where re-planning loses money, it counts as doing nothing,
    and the lead as a share of the optimum."""
    lead = sums.earned - max(sums.replanned, 0.0)
    unit = sums.replanned if sums.replanned > 0 else sums.optimum
    return float(1 + lead / unit) if unit > 0 else float("nan")
