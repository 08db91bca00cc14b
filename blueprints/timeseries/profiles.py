"""What kind of series each one is: its steps, its gaps, its demand, its trend and season.

Not called `profile`: that would hide a module of Python's own, which torch imports.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.signal import savgol_filter
from statsmodels.tsa.seasonal import STL

Values = npt.NDArray[np.float64]
Histories = dict[str, tuple[int, Values]]  # the number of the first step, then a value per step
INTERVAL, VARIATION = 1.32, 0.49  # Syntetos and Boylan 2005, On the categorization of demand
CLASSES = ("smooth", "erratic", "intermittent", "lumpy", "no demand")
# Of seasons that STL averages: with the usual 7, noise alone has a strength of season of 0.4.
SEASONS = 13
RECENT = 1000  # steps, or four seasons if that is more: STL on all of a long series takes seconds
WINDOW = 7  # steps of the line that is the trend where there is no season


def regular(table: pd.DataFrame, frequency: str) -> tuple[pd.DatetimeIndex, Histories]:
    """All steps from the first to the last timestamp, and each series on them, gaps as NaN."""
    seen = table[np.isfinite(table["value"])]
    time, value = seen["timestamp"].to_numpy(), seen["value"].to_numpy(float)
    offset = pd.tseries.frequencies.to_offset(frequency)
    calendar = pd.date_range(offset.rollback(time.min()), time.max(), freq=offset)
    step = calendar.searchsorted(time, side="right") - 1
    histories = {}
    for name, rows in seen.groupby("series_id").indices.items():
        first, last = step[rows[0]], step[rows[-1]]
        values = np.full(last - first + 1, np.nan)
        values[step[rows] - first] = value[rows]
        histories[str(name)] = (int(first), values)
    return calendar, histories


def demand(values: Values) -> tuple[float, float]:
    """Average steps from one demand to the next; squared coefficient of variation of demands.

    Missing steps count neither as demand nor as none. Infinite where nothing is demanded.
    """
    known = np.asarray(values, float)[np.isfinite(values)]
    sizes = known[known != 0]
    if not len(sizes):
        return np.inf, np.inf
    sizes = sizes / np.abs(sizes).max()  # squares of large ones would be infinite
    mean, deviation = sizes.mean(), sizes.std(ddof=min(1, len(sizes) - 1))
    return len(known) / len(sizes), float((deviation / mean) ** 2) if mean else np.inf


def intermittency(values: Values) -> str:
    """One of CLASSES."""
    interval, variation = demand(values)
    if np.isinf(interval):
        return CLASSES[-1]
    return CLASSES[2 * (interval >= INTERVAL) + (variation >= VARIATION)]


def decompose(values: Values, season_length: int) -> tuple[Values, Values, Values]:
    """Trend, season and remainder of each step; their sum is the value.

    By STL, with gaps filled by a line; the remainder of a gap is NaN. Without a season
    (`season_length` 1) the trend is a moving line. So it is where there are fewer than two
    seasons, and there the season is NaN; with fewer than three values, all are.
    """
    values = np.asarray(values, float)
    seen, steps = np.isfinite(values), np.arange(len(values))
    if seen.sum() < 3:
        nothing = np.full(len(values), np.nan)
        return nothing, nothing, nothing
    filled = np.interp(steps, steps[seen], values[seen])
    if 1 < season_length <= seen.sum() / 2:
        jumps = {"trend_jump": season_length // 7 + 1, "low_pass_jump": season_length // 10 + 1}
        parts = STL(filled, period=season_length, seasonal=SEASONS, seasonal_deg=0, **jumps).fit()
        trend, season = parts.trend, parts.seasonal
    else:
        width = min(WINDOW, len(values) - 1 + len(values) % 2)
        trend = savgol_filter(filled, width, polyorder=1)
        season = np.full(len(values), 0.0 if season_length == 1 else np.nan)
    return trend, season, np.where(seen, filled - trend - np.nan_to_num(season), np.nan)


def explained(trend: Values, season: Values, remainder: Values) -> tuple[float, float]:
    """Strengths of trend and season, 0 to 1: 1 - var(remainder) / var(part + remainder).

    After Wang, Smith and Hyndman 2006, Characteristic-based clustering for time series data.
    """
    known = np.isfinite(remainder)
    if not known.any():
        return np.nan, np.nan
    scale = np.abs((trend + np.nan_to_num(season) + remainder)[known]).max() or 1.0
    rest = remainder[known] / scale

    def strength(part: Values) -> float:
        whole = (part[known] / scale + rest).var()
        return 0.0 if whole < 1e-18 else float(np.maximum(1 - rest.var() / whole, 0))

    return strength(trend), strength(season)


def strengths(values: Values, season_length: int) -> tuple[float, float]:
    """Strengths of trend and season of the recent steps; NaN where the series is too short."""
    return explained(*decompose(recent(values, season_length), season_length))


def recent(values: Values, season_length: int) -> Values:
    """The last steps, of which strengths are measured."""
    return values[-max(RECENT, 4 * season_length) :]


def facts(histories: Histories) -> pd.DataFrame:
    """A row per series: where it lies on the calendar, its gaps, its size and its demand."""
    rows = {}
    for name, (first, values) in histories.items():
        seen = np.flatnonzero(np.isfinite(values))
        interval, variation = demand(values)
        rows[name] = {
            "first": first,
            "last": first + len(values) - 1,
            "steps": len(values),
            "missing": len(values) - len(seen),
            "longest_gap": int(np.diff(seen, prepend=-1).max()) - 1,
            "size": np.abs(values[seen]).mean(),
            "interval": interval,
            "variation": variation,
            "kind": intermittency(values),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("series")


def evenly(names: list[str], limit: int) -> list[str]:
    """At most `limit` of the names, drawn evenly over their order."""
    chosen = np.linspace(0, len(names) - 1, min(limit, len(names))).astype(int)
    return [names[i] for i in chosen]
