"""The figures of the page on the data; names of series stay out of them, in the page's text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter
from page import WIDTH, count, dates, panels
from profiles import CLASSES, INTERVAL, VARIATION, Values


def logarithmic(axis: Any, low: float, high: float) -> None:
    """A logarithmic axis with numbers to be read: powers of ten; if those are few, 1, 2 and 5."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def histories(facts: pd.DataFrame, calendar: pd.DatetimeIndex) -> Figure:
    """How long the series are, when they start, when they end."""
    figure, axes = panels(2.8, 3)
    axes[0].hist(facts["steps"], 30)
    axes[0].set(title="Steps from first to last value")
    days = date2num(calendar)
    bins = np.linspace(days[0], max(days[-1], days[0] + 1), 31)
    for axis, column in zip(axes[1:], ("first", "last"), strict=True):
        axis.hist(days[facts[column]], bins)
        axis.set(title=f"Date of the {column} value")
        dates(axis)
    for axis in axes:
        count(axis)
    return figure


def coverage(counts: pd.DataFrame) -> Figure:
    """Series that have begun and not ended at each step, and those with a value there."""
    figure, axis = panels(2.8)
    axis.fill_between(counts.index, counts["seen"], step="mid", alpha=0.4, label="with a value")
    axis.step(counts.index, counts["begun"], "C3", where="mid", label="begun and not ended")
    axis.set(title="Series at each step", ylim=(0, None))
    axis.margins(x=0.01)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    count(axis)
    dates(axis)
    return figure


def classes(facts: pd.DataFrame) -> Figure:
    """Interval of demand against its variation, with the limits of the classes."""
    shown = facts[np.isfinite(facts["variation"])]
    variation, interval = shown["variation"].clip(0.01), shown["interval"]
    figure, axis = panels(WIDTH / 2.4, width=WIDTH / 1.8)
    axis.scatter(variation, interval, 12, alpha=0.5)
    axis.axvline(VARIATION, color="gray", linewidth=1)
    axis.axhline(INTERVAL, color="gray", linewidth=1)
    across, up = np.r_[variation, 0.2, 1.2], max([2, *interval])  # shows all four classes
    logarithmic(axis.xaxis, across.min() / 1.5, across.max() * 1.5)
    logarithmic(axis.yaxis, up**-0.15, up**1.15)
    axis.set(title="One point per series", ylabel="steps per demand (log)")
    axis.set_xlabel("squared coefficient of variation of demands (log; at least 0.01)")
    for i, name in enumerate(CLASSES[:4]):
        x, y, side = (0.01, 0.99)[i % 2], (0.03, 0.93)[i // 2], ("left", "right")[i % 2]
        axis.text(x, y, name, ha=side, color="C3", transform=axis.transAxes)
    return figure


def sizes(facts: pd.DataFrame) -> Figure:
    """Mean size of each series, and how much of the total the largest hold."""
    figure, (left, right) = panels(2.8, 2)
    size = facts["size"][facts["size"] > 0]
    if len(size):
        low, high = np.log10(size.min()), np.log10(size.max())
        left.hist(size, np.logspace(low - 0.05, high + 0.05, 31))
        logarithmic(left.xaxis, size.min() / 2, size.max() * 2)
    left.set(title="Size", xlabel="mean absolute value (log)")
    count(left)
    total = (facts["size"] * (facts["steps"] - facts["missing"])).sort_values(ascending=False)
    share = np.r_[0, total.cumsum() / (total.sum() or 1)]
    right.plot(np.linspace(0, 1, len(share)), share)
    right.plot([0, 1], [0, 1], ":", color="gray")
    right.text(0.6, 0.52, "if all were equal", color="gray")
    right.set(title="Concentration", xlabel="series, largest first", ylabel="share of the total")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    return figure


def strengths(table: pd.DataFrame, marked: Sequence[str]) -> Figure:
    """Strength of trend against strength of season; `marked` series carry their number."""
    figure, axis = panels(WIDTH / 2, width=WIDTH / 2)
    axis.scatter(table["trend"], table["season"], 12, alpha=0.4)
    for i, name in enumerate(marked, 1):
        point = table.loc[name, ["trend", "season"]]
        if point.notna().all():
            box = {"boxstyle": "circle,pad=.2", "fc": "white", "ec": "C3"}
            axis.text(*point, str(i), ha="center", va="center", fontsize=9, bbox=box)
    axis.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    axis.set(title="One point per series", xlabel="strength of trend", ylabel="strength of season")
    return figure


def season(patterns: Values, names: Sequence[str]) -> Figure:
    """The mean season over series, in percent of each series' size."""
    figure, axis = panels(3)
    where = np.arange(len(names))
    for low, high, alpha in ((0.1, 0.9, 0.15), (0.25, 0.75, 0.3)):
        band = np.quantile(patterns, [low, high], axis=0)
        label = f"the middle {high - low:.0%} of series"
        axis.fill_between(where, *band, color="C0", alpha=alpha, linewidth=0, label=label)
    axis.plot(where, np.median(patterns, axis=0), marker="." * (len(names) < 60), label="median")
    axis.axhline(0, color="gray", linewidth=1)
    shown = where[:: -(-len(names) // 24)]
    axis.set_xticks(shown, [names[i] for i in shown])
    axis.set(title="Mean season", xlabel="place in the season", ylabel="of the mean size")
    axis.yaxis.set_major_formatter(PercentFormatter(1))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def decomposition(when: pd.DatetimeIndex, values: Values, parts: Sequence[Values]) -> Figure:
    """A series with its trend, its season and what remains, the latter two on one scale."""
    trend, season, remainder = parts
    figure, axes = panels(2.2, 3)
    axes[2].sharey(axes[1])
    axes[0].plot(when, trend, "C3", linewidth=1.5, zorder=3)
    titles = ("Value, with trend in red", "Season", "Remainder (same scale as season)")
    for axis, line, title in zip(axes, (values, season, remainder), titles, strict=True):
        axis.plot(when, line, "C0", linewidth=1)
        axis.set_title(title)
        axis.yaxis.set_major_formatter("{x:,.10g}")
        dates(axis)
    return figure


def covariate(column: pd.Series, correlations: pd.Series) -> Figure:
    """Distribution of a covariate, and of its correlation with the value in each series."""
    figure, (left, right) = panels(2.4, 2)
    left.hist(column[np.isfinite(column)], 40)
    left.set(title="Distribution", xlabel="covariate", ylabel="steps")
    right.hist(correlations.dropna(), np.linspace(-1, 1, 41))
    right.axvline(0, color="gray", linewidth=1)
    right.set(title="Correlation with the value", xlabel="in each series")
    count(right)
    return figure
