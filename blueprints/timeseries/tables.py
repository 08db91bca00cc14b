"""What the page tells of the series: a row for each, and tables that count them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from profiles import (
    CLASSES,
    INTERVAL,
    VARIATION,
    Histories,
    Values,
    decompose,
    evenly,
    explained,
    recent,
)

WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
YEAR = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def numbers(facts: pd.DataFrame, report: dict[str, Any], meta: dict[str, Any]) -> dict[str, str]:
    """The size of the data and of their difficulties."""
    steps, missing = facts["steps"].sum(), facts["missing"].sum()
    seldom = facts["kind"].isin(["intermittent", "lumpy"]).mean()
    return {
        "series": f"{len(facts):,}",
        "values": f"{steps - missing:,}",
        "frequency (pandas)": meta["frequency"],
        "season length (steps)": f"{meta['season_length']:,}",
        "median length (steps)": f"{facts['steps'].median():,.0f}",
        "missing steps": f"{missing:,} ({missing / steps:.1%})",
        "intermittent or lumpy": f"{seldom:.0%}",
        "covariates": str(len(meta["covariates"])),
        "series left out": f"{report['series'] - report['usable_series']:,}",
        "findings of validation": f"{sum(report['checks'].values()):,}",
    }


def coverage(histories: Histories, calendar: pd.DatetimeIndex) -> pd.DataFrame:
    """At each step: series that have `begun` and not ended, and those `seen` with a value."""
    counts = np.zeros((len(calendar), 2))
    for first, values in histories.values():
        here = counts[first : first + len(values)]
        here += np.column_stack([np.ones(len(values)), np.isfinite(values)])
    return pd.DataFrame(counts, calendar, ["begun", "seen"])


def profiled(
    histories: Histories, season_length: int, position: npt.NDArray[np.intp], limit: int
) -> tuple[pd.DataFrame, Values]:
    """Strengths of at most `limit` series drawn evenly, and the seasonal pattern of each.

    `position` is each step's place in the season; a pattern is the mean season at each place as
    a share of the mean size of the values.
    """
    rows, patterns = {}, []
    for name in evenly(list(histories), limit):
        first, values = histories[name]
        latest = recent(values, season_length)
        trend, season, remainder = decompose(latest, season_length)
        rows[name] = explained(trend, season, remainder)
        size = np.nanmean(np.abs(latest))
        if size > 0 and np.isfinite(season).all():
            place = position[first + len(values) - len(latest) :][: len(latest)]
            times = np.bincount(place, minlength=season_length)
            sums = np.bincount(place, season, season_length)
            patterns.append(sums / np.maximum(times, 1) / size)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["trend", "season"])
    return table.rename_axis("series"), np.reshape(patterns, (-1, season_length))


def places(calendar: pd.DatetimeIndex, season_length: int) -> tuple[Any, list[str]]:
    """Each step's place in the season, and the places' names."""
    named = {
        ("M", 12): (calendar.month - 1, YEAR),
        ("Q", 4): (calendar.quarter - 1, ["Q1", "Q2", "Q3", "Q4"]),
        ("D", 7): (calendar.dayofweek, WEEK),
        ("h", 24): (calendar.hour, [str(hour) for hour in range(24)]),
    }
    counted = np.arange(len(calendar)) % season_length
    numbers = [str(i + 1) for i in range(season_length)]
    place, names = named.get((calendar.freqstr[0], season_length), (counted, numbers))
    return np.asarray(place), names


def classes(table: pd.DataFrame) -> pd.DataFrame:
    """Series of each class of demand, and what the class means."""
    counts = table["kind"].value_counts().reindex(CLASSES, fill_value=0)
    often, seldom = f"demands less than {INTERVAL} steps apart", "demands further apart"
    even, uneven = f"sizes alike (squared variation below {VARIATION})", "sizes differ"
    meaning = [f"{often}, {even}", f"{often}, {uneven}", f"{seldom}, {even}"]
    meaning += [f"{seldom}, {uneven}", "every value is 0"]
    columns = {"series": counts.map("{:,}".format), "share": counts / len(table)}
    rows = pd.DataFrame(columns | {"meaning": meaning}).rename_axis("class")
    return rows.assign(share=rows["share"].map("{:.1%}".format))


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Series with missing steps, most first."""
    found = table[table["missing"] > 0].sort_values("missing", ascending=False, kind="stable")
    share = (found["missing"] / found["steps"]).map("{:.1%}".format)
    names = {"missing": "missing steps", "longest_gap": "longest gap (steps)"}
    return found[list(names)].rename(columns=names).assign(**{"share of its steps": share})


def correlations(table: pd.DataFrame, name: str) -> pd.Series:
    """Correlation of covariate `name` with the value in each series, NaN where one is constant."""
    rows = table[["series_id", "value", name]].dropna()
    group = rows["series_id"]
    x, y = (rows[key] - rows[key].groupby(group).transform("mean") for key in (name, "value"))
    xy, xx, yy = ((a * b).groupby(group).sum() for a, b in ((x, y), (x, x), (y, y)))
    varied = (rows.groupby("series_id")[[name, "value"]].nunique() > 1).all(axis=1)
    return (xy / np.sqrt(xx * yy)).where(varied)


def covariates(table: pd.DataFrame, found: dict[str, pd.Series]) -> pd.DataFrame:
    """Range of each covariate, and the range of its correlations with the value over series."""
    rows = {}
    for name, within in found.items():
        column, ends = table[name], within.quantile([0.1, 0.5, 0.9])
        rows[name] = {
            "missing": f"{column.isna().mean():.1%}",
            "different values": f"{column.nunique():,}",
            "lowest": f"{column.min():.4g}",
            "median": f"{column.median():.4g}",
            "highest": f"{column.max():.4g}",
            "median correlation": f"{ends[0.5]:.2f}",
            "correlation in most series": f"{ends[0.1]:.2f} to {ends[0.9]:.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("covariate")


def findings(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """What one check found, with the first timestamps of each series."""
    table = []
    for row in rows:
        times = [str(time).removesuffix("T00:00:00") for time in row["timestamps"]]
        shown = times[:3] + ["…"] * (row["count"] > 3 and len(times) > 0)
        kept = {key: row[key] for key in ("count", "detail")}
        table.append({"series": row["series_id"], "timestamps": ", ".join(shown)} | kept)
    columns = ["series", "timestamps", "count", "detail"]
    return pd.DataFrame(table, columns=columns).set_index("series")
