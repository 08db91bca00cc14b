"""Steps of time: which frequency series have, its season, and the timestamps on its grid.

A frequency is a pandas alias (`MS`, `W-SUN`, `D`, `h`, `15min`, ...). Needs pandas only.
"""

import functools

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset, Tick

DAY, WEEK = pd.Timedelta(days=1), pd.Timedelta(days=7)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
# steps per season of what is no fixed length of time: a week of work days, else a year
SEASONS = {"B": 5, "W": 52, "SMS": 24, "SME": 24}
SEASONS |= dict.fromkeys(["MS", "ME", "BMS", "BME"], 12)
SEASONS |= dict.fromkeys(["QS", "QE", "BQS", "BQE"], 4)
SEASONS |= dict.fromkeys(["YS", "YE", "BYS", "BYE"], 1)
MIN_SHARE = 0.9  # of the timestamps that must fit a frequency found in the data


def parse(frequency: str) -> BaseOffset:
    """The pandas offset of an alias; ValueError for one that is none or has no grid of days."""
    offset = to_offset(frequency)
    known = isinstance(offset, Tick) or str(offset.name).split("-")[0] in SEASONS
    if not known or offset.n < 1:
        raise ValueError(f"{frequency} is no length of time and none of {', '.join(SEASONS)}")
    return offset


def season_length(frequency: str) -> int:
    """Steps per day below a day, per week for days, else per year; 1 where that is no whole number.

    15min 96, h 24, D 7, B 5, W 52, MS 12, QS 4, YS 1.
    """
    offset = parse(frequency)
    if isinstance(offset, Tick):
        step = pd.Timedelta(offset)
        if step % WEEK == pd.Timedelta(0):
            whole, part = 52, step // WEEK
        else:
            whole, part = (DAY if step < DAY else WEEK).value, step.value
    else:
        whole, part = SEASONS[str(offset.name).split("-")[0]], offset.n
    return int(whole // part) if whole % part == 0 else 1


def grid(start: pd.Timestamp, end: pd.Timestamp, frequency: str) -> pd.DatetimeIndex:
    """All timestamps from `start` to `end`, both included when they are on the grid."""
    return pd.date_range(start, end, freq=parse(frequency))


def next_steps(last: pd.Timestamp, frequency: str, horizon: int) -> pd.DatetimeIndex:
    """The `horizon` timestamps that follow `last`."""
    offset = parse(frequency)
    return pd.date_range(last + offset, periods=horizon, freq=offset)


def steps(timestamps: pd.Series, frequency: str) -> tuple[np.ndarray, np.ndarray]:
    """Whole steps since one origin for all, and what is left over; -1 off the grid of days.

    Timestamps with the same rest are on one grid: their steps differ by one from each to the next.
    """
    offset = parse(frequency)
    if isinstance(offset, Tick):
        return np.divmod(timestamps.to_numpy("datetime64[ns]").astype(np.int64), offset.nanos)
    days = timestamps.dt.normalize()
    if not len(days):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    years = (days.min().year - 1) // 10 * 10, days.max().year // 10 * 10 + 10
    every = every_step(offset.base.freqstr, *years)
    number = every.searchsorted(days, side="right") - 1
    clock = (timestamps - days).to_numpy("timedelta64[ns]").astype(np.int64)
    rest = number % offset.n * DAY.value + clock
    return number // offset.n, np.where(every[number] == days, rest, -1)


@functools.lru_cache(maxsize=64)  # a request's history needs milliseconds to list, else
def every_step(frequency: str, first: int, last: int) -> pd.DatetimeIndex:
    """All timestamps of a frequency from one new year to another, within what pandas knows."""
    start, end = (f"{min(max(year, 1678), 2261)}-01-01" for year in (first, last))
    return pd.date_range(start, end, freq=to_offset(frequency))


def on_grid(series_id: pd.Series, rest: np.ndarray) -> np.ndarray:
    """Whether each timestamp has the rest that is the commonest in its series."""
    counts = pd.DataFrame({"series_id": series_id.to_numpy(), "rest": rest})
    counts = counts.groupby(["series_id", "rest"], sort=True).size().reset_index(name="count")
    counts = counts.sort_values("count", ascending=False, kind="stable")
    commonest = counts.drop_duplicates("series_id").set_index("series_id")["rest"]
    return (rest == series_id.map(commonest).to_numpy()) & (rest >= 0)


def candidates(distance: pd.Timedelta, times: pd.Series) -> list[str]:
    """Frequencies whose timestamps are mostly `distance` apart, anchored where `times` are."""
    if distance % DAY != pd.Timedelta(0):
        return [to_offset(distance).freqstr]
    days, months = distance // DAY, round(distance / DAY / 30.44)
    month, found = int(times.dt.month.mode()[0]) - 1, []
    if months and months % 12 == 0:
        found = [f"{months // 12}{kind}-{MONTHS[month]}" for kind in ("YS", "YE", "BYS", "BYE")]
    elif months and months % 3 == 0:
        starts = [f"{months // 3}{kind}-{MONTHS[month % 3]}" for kind in ("QS", "BQS")]
        ends = [f"{months // 3}{kind}-{MONTHS[month % 3 + 9]}" for kind in ("QE", "BQE")]
        found = [starts[0], ends[0], starts[1], ends[1]]
    elif months:
        found = [f"{months}{kind}" for kind in ("MS", "ME", "BMS", "BME")]
    found += ["SMS", "SME"] * (13 <= days <= 16)
    if days % 7 == 0:
        found.append(f"{days // 7}W-{WEEKDAYS[int(times.dt.weekday.mode()[0])]}")
    return [to_offset(name).freqstr for name in [*found, f"{days}D"]]


def infer(table: pd.DataFrame) -> str | None:
    """The frequency that is the commonest over the series of a table series_id, timestamp.

    Gaps do not matter as long as most steps are there. None when nothing fits 90 % of the
    timestamps of the series that have the commonest distance.
    """
    table = table[["series_id", "timestamp"]].dropna().drop_duplicates()
    table = table.sort_values(["series_id", "timestamp"], ignore_index=True)
    distance = table.groupby("series_id", sort=False)["timestamp"].diff()
    counts = table.assign(distance=distance).groupby(["series_id", "distance"]).size()
    counts = counts.reset_index(name="count").sort_values("count", ascending=False, kind="stable")
    own = counts.drop_duplicates("series_id")
    if counts["count"].sum() < 2:
        return None
    commonest = own["distance"].mode()[0]
    table = table[table["series_id"].isin(own["series_id"][own["distance"] == commonest])]
    times = table["timestamp"]
    found = candidates(commonest, times)
    weekend = times.dt.weekday > 4
    friday = (times.dt.weekday.shift() == 4) & (distance.reindex(times.index) == 3 * DAY)
    if commonest == DAY and not weekend.any() and friday.any():
        return "B"
    shares = [on_grid(table["series_id"], steps(times, name)[1]).mean() for name in found]
    best = int(np.argmax(shares))
    return found[best] if shares[best] >= MIN_SHARE else None
