"""The figures of the page on the prices."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from page import dates, panels

Array = np.ndarray


def symmetric(axis: Any, usual: float) -> None:
    """A scale that is linear near zero and logarithmic beyond: spikes and the everyday in one."""
    axis.set_yscale("symlog", linthresh=max(usual, 1e-6))


def history(table: pd.DataFrame, usual: float) -> Figure:
    """All prices over time."""
    figure, axis = panels(3)
    axis.plot(table["timestamp"], table["price"], linewidth=0.5)
    symmetric(axis, usual)
    axis.set(title="Prices (logarithmic beyond the usual price)", ylabel="price per MWh")
    axis.margins(x=0.01)
    dates(axis)
    return figure


def duration(table: pd.DataFrame, usual: float) -> Figure:
    """Price duration curve of each year: the price that so many per cent of steps exceed."""
    figure, axis = panels(3.2)
    for year, rows in table.groupby(table["local"].dt.year):
        if len(rows) > len(table) / 20:  # not the last hours of another year
            prices = np.sort(rows["price"].dropna())[::-1]
            axis.plot(np.linspace(0, 100, len(prices)), prices, label=str(year))
    symmetric(axis, usual)
    axis.set(title="Price duration curve", xlabel="per cent of steps", ylabel="price per MWh")
    axis.legend(frameon=False)
    return figure


def daily(table: pd.DataFrame) -> Figure:
    """Usual prices by hour of the local day, on working days and weekends, by year."""
    figure, axes = panels(3, 2)
    for axis, (weekend, title) in zip(
        axes, ((False, "Working days"), (True, "Weekends")), strict=True
    ):
        part = table[(table["local"].dt.dayofweek >= 5) == weekend]
        for year, rows in part.groupby(part["local"].dt.year):
            if len(rows) > len(part) / 20:
                hours = rows["local"].dt.hour + rows["local"].dt.minute / 60
                quarters = rows.groupby(hours)["price"].quantile([0.25, 0.5, 0.75]).unstack()
                axis.plot(quarters.index, quarters[0.5], label=f"median {year}")
                axis.fill_between(quarters.index, quarters[0.25], quarters[0.75], alpha=0.2)
        axis.set(title=title, xlabel="hour of the day", ylabel="price per MWh")
    axes[0].legend(frameon=False)
    return figure


def memory(prices: Array, day: int) -> Figure:
    """Autocorrelation of ranks up to eight days: how much yesterday tells."""
    ranks = pd.Series(prices).rank()
    lags = np.arange(1, min(8 * day, len(ranks) // 2))
    values = [ranks.autocorr(int(lag)) for lag in lags]
    figure, axis = panels(2.6)
    axis.plot(lags / day, values)
    axis.axhline(0, color="gray", linewidth=1)
    axis.set(title="Autocorrelation of ranks", xlabel="days before", ylabel="correlation")
    axis.set_xticks(range(int(lags[-1] / day) + 1))
    return figure


def spread(table: pd.DataFrame) -> Figure:
    """Highest minus lowest price of each local day: what a day can be worth."""
    days = table.groupby(table["local"].dt.date)["price"]
    spreads = (days.max() - days.min()).dropna()
    figure, (left, right) = panels(2.8, 2)
    left.plot(pd.to_datetime(spreads.index), spreads, linewidth=0.8)
    left.set(title="Spread of each day", ylabel="price per MWh", yscale="symlog")
    dates(left)
    share = spreads.sort_values(ascending=False).cumsum() / (spreads.sum() or 1)
    right.plot(np.linspace(0, 100, len(share)), share * 100)
    right.set(title="Concentration", xlabel="per cent of days", ylabel="per cent of all spreads")
    return figure


def sample(table: pd.DataFrame) -> Figure:
    """Some days of prices as they came."""
    figure, axis = panels(2.4)
    axis.step(table["local"].dt.tz_localize(None), table["price"], where="post", linewidth=1)
    axis.set(ylabel="price per MWh")
    dates(axis)
    return figure


def episodes(table: pd.DataFrame) -> Figure:
    """Returns and lengths of random play."""
    figure, axes = panels(2.8, 2)
    for axis, name in zip(axes, ("return", "length"), strict=True):
        axis.hist(table[name], 30)
        axis.set(title=f"{name.capitalize()} of random play", ylabel="episodes")
    return figure
