"""Numbers of a policy: money, cycles, violations, per month, spread over seeds."""

from typing import Any

import battery as physics
import numpy as np
import pandas as pd
from battery import Battery
from scipy import stats

Array = np.ndarray


def of_run(battery: Battery, charge: Array, power: Array, earned: Array) -> dict[str, float]:
    """profit, cycles (MWh taken out over MWh held) and violations of one battery's history."""
    out = float(np.maximum(-power, 0).sum() * battery.step_hours)
    return {
        "profit_usd": float(earned.sum()),
        "cycles": out / battery.energy_mwh,
        "violations": physics.violations(battery, charge, power),
    }


def over_seeds(rows: list[dict[str, float]], high: set[str]) -> dict[str, Any]:
    """Median and worst over seeds of each number; of those in `high` the lowest is the worst."""
    found: dict[str, Any] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        found[name] = float(np.median(values))
        found[f"{name}_worst"] = float(values.min() if name in high else values.max())
    return found


def interval(values: list[float]) -> list[float]:
    """95 % interval of the mean over seeds by Student's t; the value twice where there is one."""
    if len(values) < 2 or len(set(values)) == 1:
        return [float(np.mean(values))] * 2
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return [float(low), float(high)]


def by_month(times: pd.DatetimeIndex, earned: dict[str, Array]) -> pd.DataFrame:
    """Profit per month of each column; times are local."""
    months = times.tz_localize(None).to_period("M").astype(str)
    return pd.DataFrame(earned).groupby(months).sum().rename_axis("month").reset_index()


def difference_of_weeks(
    times: pd.DatetimeIndex, one: Array, other: Array, seed: int
) -> list[float]:
    """95 % interval of the sum of one minus other, weeks drawn anew: is a lead more than luck?"""
    weeks = np.asarray((times - times[0]) // pd.Timedelta(days=7))
    sums = np.bincount(weeks, one - other)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (2000, len(sums)))
    return [float(bound) for bound in np.quantile(sums[drawn].sum(axis=1), [0.025, 0.975])]
