"""The prepared series, and the rows the global model learns from, read from the feature store."""

from pathlib import Path
from typing import Any, NamedTuple

import features
import frequency
import numpy as np
import pandas as pd
import store

PREPARED = Path("data/prepared")
Array = np.ndarray


class Series(NamedTuple):
    """One series: `length` of its values are for training, the horizon after them is the test."""

    name: str
    times: Array  # [t] datetime64
    values: Array  # [t], gaps filled
    filled: Array  # [t] whether the value was missing
    covariates: Array  # [t, covariates]
    length: int


def read(meta: dict[str, Any]) -> list[Series]:
    """All series of series.parquet, in the order of their names."""
    table = pd.read_parquet(PREPARED / "series.parquet")
    return [
        Series(
            str(name),
            rows["timestamp"].to_numpy("datetime64[ns]"),
            rows["value"].to_numpy(float),
            rows["filled"].to_numpy(bool),
            rows[meta["covariates"]].to_numpy(float),
            int((rows["split"] == "train").sum()),
        )
        for name, rows in table.groupby("series_id", sort=True)
    ]


def cuts(series: list[Series], folds: int, meta: dict[str, Any]) -> list[int]:
    """Steps before the end of training at which to look back, the oldest first."""
    m, horizon = meta["season_length"], meta["horizon"]
    longest = max(one.length for one in series)
    found = [horizon + i * max(m, horizon // 2) for i in range(folds)]
    found = [back for back in found if longest - back >= first(meta)]
    if not found:
        raise SystemExit(f"train: no series is long enough to look back {horizon} steps")
    return found[::-1]


def first(meta: dict[str, Any]) -> int:
    """Values a series needs before it is forecast."""
    return max(2 * int(meta["season_length"]), 4)


def ends(series: list[Series], back: int, meta: dict[str, Any]) -> Array:
    """[n, 2] (series, length) of the series that are long enough `back` steps before the end.

    A series is left out of a fold that begins inside a gap: what fills it may come from after it.
    """
    found = [
        (i, one.length - back)
        for i, one in enumerate(series)
        if one.length - back >= first(meta) and not (back and one.filled[one.length - back - 1])
    ]
    return np.array(found, int).reshape(-1, 2)


class Moments(NamedTuple):
    """Moments of the past with their features, and the rows they give for each step ahead."""

    series: Array  # [n] index of the series
    length: Array  # [n] values known at the moment
    recent: Array  # [n, SEASONS * season_length] as the feature store has it
    observations: Array  # [n]


def sampled(series: list[Series], meta: dict[str, Any], number: int, seed: int) -> Array:
    """[n, 2] (series, length) of at most `number` moments in the training part, drawn at random."""
    least = first(meta)
    every = [
        np.column_stack([np.full(max(0, one.length - least), i), np.arange(least, one.length)])
        for i, one in enumerate(series)
    ]
    moments = np.concatenate(every).astype(int)
    known = [not series[i].filled[length - 1] for i, length in moments]
    moments = moments[known]  # what fills a gap may come from after it
    drawn = np.random.default_rng(seed).permutation(len(moments))[:number]
    return moments[np.sort(drawn)]


def moments(series: list[Series], wanted: Array, folder: Path) -> Moments:
    """Features of the wanted [n, 2] (series, length) by the feature store in `folder`."""
    names = np.array([series[i].name for i, _ in wanted])
    times = np.array([series[i].times[length - 1] for i, length in wanted])
    found = store.at(store.opened(folder), names, times)
    if found["observations"].isna().any():
        missing = found[found["observations"].isna()].iloc[0]
        what = f"{missing['series_id']} at {missing['event_timestamp']}"
        raise SystemExit(f"train: the feature store does not know {what}; run dvc repro prepare")
    observations = found["observations"].to_numpy(np.int64)
    if (observations != wanted[:, 1]).any():
        raise SystemExit("train: the feature store's rows are from another moment than asked for")
    recent = np.stack(found["recent"].to_numpy())
    return Moments(wanted[:, 0], wanted[:, 1], recent, observations)


def inputs(series: list[Series], known: Moments, meta: dict[str, Any]) -> tuple[Array, Array]:
    """(features [n, horizon, columns], base [n, horizon]) of the steps after each moment.

    Covariates are known to the end of a series: beyond it the last ones stand in.
    """
    steps = np.arange(1, meta["horizon"] + 1)
    at = known.length[:, None] + steps - 1
    last = np.array([len(one.values) for one in series])[known.series]
    inside = np.minimum(at, last[:, None] - 1)
    more = []
    if meta["calendar"]:
        whole = [calendar_of(one, meta) for one in series]
        times = np.stack([whole[i][row] for i, row in zip(known.series, at, strict=True)])
        more += features.calendar(times, tuple(meta["calendar"]))
    if meta["covariates"]:
        pairs = zip(known.series, inside, strict=True)
        given = np.stack([series[i].covariates[row] for i, row in pairs])
        more += list(np.moveaxis(given, 2, 0))
    return features.rows(known.recent, known.observations, meta["season_length"], steps, more)


def calendar_of(one: Series, meta: dict[str, Any]) -> Array:
    """[t + horizon] datetime64: the steps of a series and as many after it as are forecast."""
    later = frequency.next_steps(pd.Timestamp(one.times[-1]), meta["frequency"], meta["horizon"])
    return np.concatenate([one.times, later.to_numpy("datetime64[ns]")])


def targets(series: list[Series], known: Moments, horizon: int) -> tuple[Array, Array]:
    """Values [n, horizon] after each moment, NaN where missing or beyond the training part; and how
    many steps before the end of the training part each lies [n, horizon].
    """
    at = known.length[:, None] + np.arange(horizon)
    left = np.array([one.length for one in series])[known.series][:, None] - 1 - at
    pairs = zip(known.series, np.where(left >= 0, at, 0), strict=True)
    given = [np.where(one.filled, np.nan, one.values) for one in series]
    values = np.stack([given[i][row] for i, row in pairs])
    return np.where(left >= 0, values, np.nan), left
