"""What can be wrong with a history of prices; every finding names its moments."""

from typing import Any

import numpy as np
import pandas as pd

Evidence = dict[str, Any]
DAY = pd.Timedelta(days=1)


def evidence(times: pd.Series | pd.DatetimeIndex, detail: str, listed: int) -> Evidence:
    """How many moments, the first of them (UTC), and what about them."""
    shown = [moment.isoformat() for moment in list(times)[:listed]]
    return {"count": len(times), "detail": detail, "timestamps": shown}


def usable_rows(table: pd.DataFrame, day: int) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """One row per moment on the grid of `day` steps, and the rows left out, by reason."""
    good = table[table["problem"] == ""]
    same = good.duplicated(keep="first")
    once = good[~same]
    clash = once["timestamp"].duplicated(keep=False)
    alone = once[~clash]
    phase = (alone["timestamp"] - alone["timestamp"].min()) % (DAY / day)
    off = phase != phase.mode().get(0)
    left = {
        "unreadable": table[table["problem"] != ""],
        "repeated": good[same],
        "conflicting": once[clash],
        "irregular": alone[off],
    }
    return alone[~off].drop(columns="problem"), left


def on_grid(rows: pd.DataFrame, day: int) -> pd.DataFrame:
    """Every step from the first to the last, NaN where there is no row."""
    grid = pd.date_range(rows["timestamp"].iloc[0], rows["timestamp"].iloc[-1], freq=DAY / day)
    return rows.set_index("timestamp").reindex(grid).rename_axis("timestamp").reset_index()


def longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def clock_changes(times: pd.Series, timezone: str, day: int) -> pd.Series:
    """First moments of local days that are not 24 hours long."""
    local = pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(timezone)
    days = pd.Series(times.to_numpy(), index=local.date)
    counts = days.groupby(level=0).size()
    inner = counts.iloc[1:-1]  # the first and the last day may be cut
    changed = inner[inner != day].index
    return days.groupby(level=0).first()[changed]


def between_hours(times: pd.Series, timezone: str, day: int) -> list[str]:
    """A stop where clocks change, in the data or the year after, by less than a step: the steps
    would begin at other hours in summer than in winter, and no rule of hours would hold."""
    last = min(times.iloc[-1], pd.Timestamp.max - 400 * DAY) + 366 * DAY
    days = pd.date_range(times.iloc[0], last, freq="D")
    local = days.tz_localize("UTC").tz_convert(timezone).tz_localize(None)
    if ((local - days) % (DAY / day)).nunique() == 1:
        return []
    clocks = f"clocks in {timezone} change by less than a step of {24 / day:g} hours"
    return [f"{clocks}; set ingest.timezone to UTC or a fixed offset such as Etc/GMT+6"]


def stuck(prices: np.ndarray, least: int) -> np.ndarray:
    """Steps inside runs of at least `least` equal prices: a feed that hangs."""
    new = np.concatenate([[True], prices[1:] != prices[:-1]])
    run = np.cumsum(new) - 1
    return np.asarray(np.bincount(run)[run] >= least) & np.isfinite(prices)


def spikes(prices: np.ndarray, times: float) -> np.ndarray:
    """Prices more than so many robust deviations from the median; kept, they are the business."""
    middle = np.nanmedian(prices)
    spread = max(float(np.nanmedian(np.abs(prices - middle))) * 1.4826, 1e-9)
    return np.asarray(np.abs(prices - middle) > times * spread)


def leakage(table: pd.DataFrame, signals: list[str]) -> dict[str, float]:
    """How well each signal tells the next change of the price: correlation of ranks."""
    change = table["price"].diff().shift(-1).rank()
    found = {}
    for name in signals:
        ahead = pd.concat([table[name].rank(), table[name].diff().rank()], axis=1)
        ahead.columns = ["level", "change"]
        ahead["apart"] = (table[name] - table["price"]).rank()
        varied = ahead.loc[:, ahead.nunique() > 1]  # a constant tells nothing
        correlations = varied.corrwith(change).abs().fillna(0.0)
        found[name] = float(correlations.max()) if len(correlations) else 0.0
    return found
