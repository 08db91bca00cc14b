"""What a policy must be better than: controllers that do not learn."""

from typing import NamedTuple

import battery as physics
import features
import numpy as np
import pandas as pd
import planning
from battery import Battery
from market import Market

Array = np.ndarray
SHARES = np.array([-1.0, 0.0, 1.0])  # as much out as possible, nothing, as much in as possible


class Run(NamedTuple):
    """One battery through t steps."""

    charge: Array  # [t + 1] MWh
    power: Array  # [t] MW
    earned: Array  # [t]


def follow(battery: Battery, prices: Array, shares: Array) -> Run:
    """A schedule of shares [t] that does not look at the charge."""
    charge, power, before = np.zeros(len(prices) + 1), np.zeros(len(prices)), np.zeros(1)
    for i, share in enumerate(shares):
        before = physics.power(battery, np.array([share]), charge[i : i + 1], before)
        power[i] = before[0]
        charge[i + 1] = physics.move(battery, charge[i : i + 1], before).charge[0]
    earned = physics.money(battery, prices, physics.move(battery, charge[:-1], power))
    return Run(charge, power, earned)


def fixed_hours(table: pd.DataFrame, battery: Battery) -> dict[float, float]:
    """Hour of the local day -> share, learnt on training rows (hour, price): the hours that are
    usually the cheapest charge, and of the usually dearest so many discharge as that takes."""
    usual = table.groupby("hour")["price"].median().sort_values(kind="stable")
    steps = [power * battery.step_hours for power in (battery.most_in, battery.most_out)]
    energy = min(battery.energy_mwh, min(steps) * (len(usual) // 2))
    charging, discharging = (int(np.ceil(energy / step - 1e-9)) for step in steps)
    rule = dict.fromkeys(usual.index, 0.0)
    rule |= dict.fromkeys(usual.index[:charging], 1.0)
    return rule | dict.fromkeys(usual.index[-discharging:], -1.0)


def replan(battery: Battery, market: Market, segment: Array, plan: str) -> Run:
    """At each step the best of three moves by a plan for the day to come, made anew each time.

    plan: the forecast it rests on, one of features.PLANS.
    """
    which = features.PLANS.index(plan)
    charge, power, before = np.zeros(len(segment) + 1), np.zeros(len(segment)), np.zeros(1)
    for i, at in enumerate(segment):
        here = np.repeat(charge[i], 3)
        asked = physics.power(battery, SHARES, here, np.repeat(before, 3))
        moved = physics.move(battery, here, asked)
        value = np.repeat(market.seen.value[at, which][None], 3, axis=0).astype(float)
        gain = physics.money(battery, market.prices[at], moved)
        gain = gain + planning.worth(battery, value, moved.charge)
        best = int(np.lexsort((np.abs(SHARES), -gain))[0])  # of equals the one that does nothing
        before, power[i] = asked[best : best + 1], asked[best]
        charge[i + 1] = moved.charge[best]
    prices = market.prices[segment]
    earned = physics.money(battery, prices, physics.move(battery, charge[:-1], power))
    return Run(charge, power, earned)


def every(
    battery: Battery, market: Market, hours: tuple[Array, Array], segment: Array
) -> dict[str, Run]:
    """All controllers on a segment; hours: (hour of each step, training steps)."""
    hour, train = hours
    rule = fixed_hours(pd.DataFrame({"hour": hour[train], "price": market.prices[train]}), battery)
    prices = market.prices[segment]
    shares = np.array([rule.get(value, 0.0) for value in hour[segment]])
    return {
        "idle": follow(battery, prices, np.zeros(len(segment))),
        "fixed_hours": follow(battery, prices, shares),
        "replanning": replan(battery, market, segment, "yesterday"),
        "replanning_moved": replan(battery, market, segment, "moved"),
    }
