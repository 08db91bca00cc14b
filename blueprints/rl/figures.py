"""Plots: days with prices, charge and power; money over the year; learning curves."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

Array = np.ndarray
PLOTS = Path("plots")


def save(figure: Figure, name: str) -> None:
    """A PNG without a date, so that two runs give the same bytes."""
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / name, dpi=100, bbox_inches="tight", metadata={"Software": None})


def trajectory(times: pd.DatetimeIndex, prices: Array, charge: Array, power: Array) -> Figure:
    """Prices above, power and charge below; charge: [t + 1]."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    above.step(times, prices, "black", where="post", linewidth=1)
    above.set_ylabel("price per MWh")
    for sign, color, label in ((1, "C0", "buys"), (-1, "C3", "sells")):
        chosen = np.where(np.sign(power) == sign, power, 0)
        below.fill_between(times, chosen, step="post", color=color, alpha=0.6, label=label)
    below.plot(times, charge[:-1], "C2", linewidth=1.5, label="charge, MWh")
    below.set_ylabel("MW")
    below.legend(ncols=3, loc="upper left", fontsize=8)
    locator = AutoDateLocator()
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for axis in (above, below):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def money(times: pd.DatetimeIndex, earned: dict[str, Array]) -> None:
    """plots/profit.png: what each controller has earned so far."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axis = figure.subplots()
    for name, values in earned.items():
        axis.plot(times, np.cumsum(values), linewidth=2 if name.startswith("policy") else 1)
        axis.annotate(name, (times[-1], values.sum()), fontsize=8, va="center")
    axis.set(title="Profit so far on prices that training has not seen", ylabel="profit")
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, "profit.png")


def returns(values: dict[str, Array]) -> None:
    """plots/returns.png: returns of test episodes, by policy."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    axis.boxplot(list(values.values()), tick_labels=list(values))
    axis.set(title="Returns of test episodes", ylabel="return")
    save(figure, "returns.png")
