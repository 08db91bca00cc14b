"""Checks of rows and of series; each gives evidence: series_id, timestamp, count, detail.

`rows` have series_id, timestamp, value, covariates and their number of `step`, and are sorted by
series and time, each time once. All of it is computed for all series together.
"""

import warnings
from typing import Any

import frequency as frequencies
import numpy as np
import pandas as pd

LEAST_POINTS = 10  # of a series that a model can learn from
TIMES_LISTED = 5  # of each finding
Evidence = dict[str, pd.DataFrame]


def summary(rows: pd.DataFrame, names: pd.Index) -> pd.DataFrame:
    """Per series in `names`: points, first and last step, missing steps, range, start."""
    groups = rows.groupby("series_id", sort=False)
    table = groups.agg(
        points=("value", "size"),
        first=("step", "first"),
        last=("step", "last"),
        low=("value", "min"),
        high=("value", "max"),
        timestamp=("timestamp", "first"),
    ).reindex(names)
    table["points"] = table["points"].fillna(0).astype(int)
    table["span"] = (table["last"] - table["first"] + 1).fillna(0).astype(int)
    return table.assign(missing=table["span"] - table["points"])


def of_series(table: pd.DataFrame, where: pd.Series, detail: Any) -> pd.DataFrame:
    """Evidence that is a series as a whole, at its start; the count is that of its points."""
    found = table.assign(detail=detail, count=table["points"])[where]
    return found.rename_axis("series_id").reset_index()


def of_rows(rows: pd.DataFrame, detail: pd.Series | str) -> pd.DataFrame:
    """Evidence that is single rows."""
    return rows[["series_id", "timestamp"]].assign(count=1, detail=detail)


def usable_rows(
    table: pd.DataFrame, problems: pd.Series, frequency: str
) -> tuple[pd.DataFrame, Evidence]:
    """Readable rows on the grid, each time once and with its `step`; the others as evidence."""
    bad, rows = problems != "", table[problems == ""]
    found = {"unreadable": of_rows(table[bad], problems[bad])}
    copies = rows.duplicated(["series_id", "timestamp", "value"])
    found["exact_duplicates"] = of_rows(rows[copies], "the same value again: dropped")
    rows = rows[~copies]
    again = rows.duplicated(["series_id", "timestamp"])
    found["duplicate_times"] = of_rows(rows[again], "another value: the first one is kept")
    rows = rows[~again]
    step, rest = frequencies.steps(rows["timestamp"], frequency)
    good = frequencies.on_grid(rows["series_id"], rest)
    found["irregular"] = of_rows(rows[~good], f"not on the grid of {frequency}: dropped")
    return rows.assign(step=step)[good].drop(columns="problem").reset_index(drop=True), found


def gaps(rows: pd.DataFrame, table: pd.DataFrame, frequency: str, then: str) -> pd.DataFrame:
    """Where steps are missing inside a series: the first one of each gap, and what `then` is."""
    same = rows["series_id"].eq(rows["series_id"].shift())
    missing = rows["step"].diff() - 1
    broken = same & (missing > 0)
    before = pd.DatetimeIndex(rows["timestamp"].shift()[broken])
    of = table.loc[rows["series_id"][broken]]
    text = of["missing"].astype(str) + " of " + of["span"].astype(str) + " steps missing"
    text += of["gappy"].map({True: ": left out", False: then})
    return pd.DataFrame(
        {
            "series_id": rows["series_id"][broken],
            "timestamp": before + frequencies.parse(frequency),
            "count": missing[broken].astype(int),
            "detail": text.to_numpy(),
        }
    )


def neighbourhood(rows: pd.DataFrame, values: pd.Series, season_length: int) -> np.ndarray:
    """Median of one and two seasons before and after, moved by the change per season; else NaN."""
    series = pd.factorize(rows["series_id"])[0]
    step = (rows["step"] - rows["step"].min()).to_numpy() + 2 * season_length
    key = series * (step.max() + 2 * season_length + 1) + step  # ascending, as rows are sorted
    around = np.full((4, len(rows)), np.nan)
    for found, seasons in zip(around, (-1, 1, -2, 2), strict=True):
        wanted = key + seasons * season_length
        at = np.searchsorted(key, wanted).clip(max=len(key) - 1)
        found[:] = np.where(key[at] == wanted, values.to_numpy()[at], np.nan)
    change = pd.Series(values.to_numpy() - around[0]).groupby(series).transform("median")
    around += np.outer([1, -1, 2, -2], change)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all four are missing: NaN is right
        return np.nanmedian(around, axis=0)


def outliers(rows: pd.DataFrame, season_length: int, limit: float) -> pd.DataFrame:
    """Values far from those of neighbouring seasons, in robust deviations of their series.

    Compared as asinh of ten times the value over its median, a logarithm that bears zeros, since
    large demand varies more. The deviation is 1.4826 times the median absolute one, or if that is
    zero (most values repeat) 1.2533 times the mean: both a standard deviation where errors are
    normal. Worst first.
    """
    if rows.empty:
        return of_rows(rows, "")
    size = rows["value"].abs().groupby(rows["series_id"], sort=False)
    unit = size.transform("median").where(lambda middle: middle > 0, size.transform("mean")) / 10
    values = np.arcsinh(rows["value"] / unit.where(unit > 0, 1))
    expected = neighbourhood(rows, values, season_length)
    off = (values - expected).abs()
    groups = off.where(off > 1e-9, off * 0).groupby(rows["series_id"], sort=False)  # no rounding
    median, mean = groups.transform("median"), groups.transform("mean")
    deviation = (1.4826 * median).where(median > 0, 1.2533 * mean)
    score = off / deviation.where(deviation > 0)
    worst = score[score > limit].sort_values(ascending=False, kind="stable").index
    near = np.sinh(pd.Series(expected, rows.index)[worst]) * unit[worst]
    numbers = zip(rows["value"][worst], near, score[worst], strict=True)
    texts = [f"{v:.6g}, near {e:.6g} in other seasons: {s:.1f} deviations" for v, e, s in numbers]
    return of_rows(rows.loc[worst], pd.Series(texts, worst, dtype=object))


def missing_covariates(rows: pd.DataFrame, covariates: list[str]) -> pd.DataFrame:
    """Rows that lack a covariate; a row that lacks two is there twice."""
    then = "is missing: the one before is taken"
    parts = [of_rows(rows[rows[name].isna()], f"{name} {then}") for name in covariates]
    return pd.concat([of_rows(rows[:0], ""), *parts])


def findings(evidence: pd.DataFrame, listed: int) -> list[dict[str, Any]]:
    """One for each series, those with the most first, as a list for JSON."""
    counts = evidence.groupby("series_id")["count"].sum()
    shown = counts.sort_values(ascending=False, kind="stable").index[:listed]
    rows = dict(list(evidence[evidence["series_id"].isin(shown)].groupby("series_id")))
    return [
        {
            "series_id": name,
            "timestamps": [
                time.isoformat() for time in rows[name]["timestamp"].dropna()[:TIMES_LISTED]
            ],
            "count": int(counts[name]),
            "detail": rows[name]["detail"].iloc[0],
        }
        for name in shown
    ]
