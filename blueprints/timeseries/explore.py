"""Stage `explore`: what is in the data -> reports/explore.html, one self-contained page."""

from pathlib import Path
from typing import Any

import charts
import pandas as pd
import tables
from page import chart, grid, heading, page, tiles
from profiles import RECENT, Histories, decompose, evenly, facts, regular
from pydantic import PositiveInt

from shared import params

CHECKED, PAGE = Path("data/checked.parquet"), Path("reports/explore.html")
META, REPORT = Path("data/raw/meta.json"), Path("reports/validation.json")
Json = dict[str, Any]
NONE = "<p>None.</p>"
Sections = dict[str, list[str]]


class ExploreParams(params.Params):
    series_shown: PositiveInt
    findings_listed: PositiveInt
    series_profiled: PositiveInt


def extent(
    found: pd.DataFrame, histories: Histories, calendar: pd.DatetimeIndex, limit: int
) -> Sections:
    """Where the series lie, how large they are, what kind of demand they have."""
    return {
        "Lengths and starts": [
            "Short series have little to learn a season from; series that end early may be "
            "discontinued, and a forecast for them is a waste.",
            chart(charts.histories(found, calendar), "Histograms of lengths, starts and ends"),
        ],
        "Gaps": [
            "Where the area stays below the line, values are missing: find out whether they were "
            "zero or unknown, since a forecast learns from the one and not from the other.",
            chart(charts.coverage(tables.coverage(histories, calendar)), "Series at each step"),
            grid(tables.gaps(found), limit),
        ],
        "Sizes": [
            "If sizes differ by powers of ten, an average error in units is the error of the "
            "largest series: judge by scaled errors, and look at the largest by themselves.",
            chart(charts.sizes(found), "Histogram of sizes, concentration of the total"),
        ],
        "Classes of demand": [
            "Intermittent and lumpy series need other methods than smooth ones (Croston and kin) "
            "and errors that zeros do not distort; erratic may just mean a strong trend or season. "
            "Classes of Syntetos and Boylan.",
            grid(tables.classes(found)),
            chart(charts.classes(found), "Interval of demand against its variation"),
        ],
    }


def structure(
    histories: Histories, calendar: pd.DatetimeIndex, length: int, config: ExploreParams
) -> Sections:
    """Trend and season: how strong, of what form, and a sample of series to see them in."""
    place, names = tables.places(calendar, length)
    found, patterns = tables.profiled(histories, length, place, config.series_profiled)
    sample = evenly(found.sort_values(["season", "trend"]).index, config.series_shown)
    parts = []
    for i, name in enumerate(sample, 1):
        first, values = histories[name]
        trend, season = found.loc[name].map("{:.2f}".format).replace("nan", "unknown")
        parts.append(heading(f"{i}. {name}: trend {trend}, season {season}"))
        when = calendar[first : first + len(values)]
        figure = charts.decomposition(when, values, decompose(values, length))
        parts.append(chart(figure, f"Decomposition of {name}"))
    unknown = found["season"].isna().sum()
    whole = length > 1 and len(patterns) > 0
    return {
        "Strength of trend and season": [
            "Points at the top repeat each season and are easy to forecast; points at the lower "
            "left are noise to any model. Strength is 1 - var(remainder) / var(part + remainder) "
            f"(Wang, Smith and Hyndman) by STL over the last {max(RECENT, 4 * length):,} steps, of "
            f"{len(found):,} of {len(histories):,} series; {unknown:,} are shorter than two "
            "seasons. Numbers: the sample below.",
            chart(charts.strengths(found, sample), "Strength of trend and season"),
        ],
        "Mean season": [
            "A narrow band means that one season fits all series, which a model of all series can "
            "share; a wide one means that each has its own.",
            chart(charts.season(patterns, names), "Mean season") if whole else NONE,
        ],
        "Sample of series": [
            "From the weakest season to the strongest, evenly: look for jumps, changes of level "
            "and a season that grows with the level (then take logarithms).",
            *parts,
        ],
    }


def covariates(table: pd.DataFrame, names: list[str]) -> Sections:
    """How covariates are distributed, and how they go with the value; nothing without any."""
    found = {name: tables.correlations(table, name) for name in names}
    parts = []
    for name, within in found.items():
        figure = charts.covariate(table[name], within)
        parts += [heading(name), chart(figure, f"Distribution and correlations of {name}")]
    lead = (
        "A covariate with correlations of one sign may help a forecast, if it is known in time; "
        "two trends correlate without any connection."
    )
    return {"Covariates": [lead, grid(tables.covariates(table, found)), *parts]} if names else {}


def findings(report: Json, limit: int) -> Sections:
    """What each check of validation found, by the number of series it found something in."""
    parts = []
    for check, count in report["checks"].items():
        rows = tables.findings(report["findings"].get(check, []))
        parts += [heading(f"{check.replace('_', ' ')}: {count:,}"), grid(rows, limit, count)]
    lead = "Ask whoever owns the data about these first; reports/validation.json has more of each."
    return {"Findings of validation": [lead, *(parts or [NONE])]}


def main() -> None:
    config = params.stage("explore", ExploreParams)
    meta, report = params.read_json(META), params.read_json(REPORT)
    table = pd.read_parquet(CHECKED)
    calendar, histories = regular(table, meta["frequency"])
    found = facts(histories)
    sections = extent(found, histories, calendar, config.findings_listed)
    sections |= structure(histories, calendar, meta["season_length"], config)
    sections |= covariates(table, meta["covariates"]) | findings(report, config.findings_listed)
    with params.atomic(PAGE) as draft:
        text = page("The data at a glance", tiles(tables.numbers(found, report, meta)), sections)
        draft.write_text(text, encoding="utf-8")
    print(f"explore: {PAGE}")


if __name__ == "__main__":
    main()
