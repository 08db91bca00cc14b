"""Stage `explore`: what is in the data -> reports/explore.html, one self-contained page."""

from pathlib import Path
from typing import Any

import charts
import numpy as np
import pandas as pd
from page import chart, grid, heading, page, tiles
from pydantic import PositiveInt

from shared import params

CHECKED, PAGE = Path("data/checked.parquet"), Path("reports/explore.html")
META, REPORT = Path("data/raw/meta.json"), Path("reports/validation.json")
Json = dict[str, Any]
Sections = dict[str, list[str]]


class ExploreParams(params.Params):
    days_shown: PositiveInt
    findings_listed: PositiveInt


def numbers(table: pd.DataFrame, meta: Json, report: Json) -> dict[str, str]:
    """The size of the data and of what can be earned."""
    prices = table["price"]
    days = table.groupby(table["local"].dt.date)["price"]
    return {
        "days": f"{report['days']:,.0f}",
        "minutes per step": f"{1440 / meta['day']:g}",
        "median price": f"{prices.median():,.2f}",
        "highest": f"{prices.max():,.2f}",
        "lowest": f"{prices.min():,.2f}",
        "below zero": f"{(prices < 0).mean():.1%}",
        "steps without a price": f"{prices.isna().sum():,}",
        "median spread of a day": f"{(days.max() - days.min()).median():,.2f}",
        "signals": str(len(meta["signals"])),
    }


def weeks(table: pd.DataFrame, config: ExploreParams, day: int) -> list[str]:
    """The calmest, the usual and the wildest stretch of days_shown days, by their mean spread."""
    length = config.days_shown * day
    rolling = table["price"].rolling(length).std().dropna()
    if rolling.empty:
        return [chart(charts.sample(table), "Prices")]
    order = rolling.sort_values().index
    parts = []
    for title, place in (("calm", 0.02), ("usual", 0.5), ("wild", 0.98)):
        last = order[int(place * (len(order) - 1))]
        part = table.loc[last - length + 1 : last]
        parts += [heading(f"A {title} time"), chart(charts.sample(part), f"A {title} time")]
    return parts


def market(table: pd.DataFrame, meta: Json, config: ExploreParams) -> Sections:
    """What a battery can live on: how prices are spread, shaped, remembered."""
    usual = float(table["price"].abs().median())
    return {
        "History": [
            "Look for times unlike the others: who learns from a crisis learns the crisis.",
            chart(charts.history(table, usual), "Prices over time"),
        ],
        "Price duration": [
            "The steep left end is where most of the money lies, in few hours; a year that differs "
            "from the others there will be earned differently.",
            chart(charts.duration(table, usual), "Price duration curves"),
        ],
        "Shape of the day": [
            "A stable shape makes a rule of fixed hours hard to beat; where it moves with the "
            "season or the year, reading prices pays.",
            chart(charts.daily(table), "Prices by hour"),
        ],
        "Memory": [
            "High values at whole days: yesterday's prices are a usable forecast.",
            chart(charts.memory(table["price"].to_numpy(), meta["day"]), "Autocorrelation"),
        ],
        "Spread": [
            "What a battery could buy low and sell high within a day, before losses.",
            chart(charts.spread(table), "Daily spreads"),
        ],
        "Samples": ["As the policy sees them.", *weeks(table, config, meta["day"])],
    }


def signals(table: pd.DataFrame, report: Json, names: list[str]) -> Sections:
    """How each signal goes with the price now and with its next change."""
    rows = {
        name: {
            "median": f"{table[name].median():,.4g}",
            "range": f"{table[name].min():,.4g} to {table[name].max():,.4g}",
            "missing": f"{table[name].isna().mean():.1%}",
            "correlation of ranks": f"{table[name].corr(table['price'], 'spearman'):.2f}",
            "with its next change": f"{report['leakage'][name]:.2f}",
        }
        for name in names
    }
    lead = "A signal that tells the next change of the price almost surely is not known in time."
    found = pd.DataFrame.from_dict(rows, orient="index").rename_axis("signal")
    return {"Signals": [lead, grid(found)]} if names else {}


def findings(report: Json, limit: int) -> Sections:
    """What each check of validation found, with its first moments."""
    parts = []
    for name, found in report["findings"].items():
        rows = pd.DataFrame({"moment (UTC)": found["timestamps"][:limit]})
        rows = rows.assign(about=found["detail"]).set_index("moment (UTC)")
        parts.append(heading(f"{name.replace('_', ' ')}: {found['count']:,}"))
        parts.append(grid(rows, limit, found["count"]))
    return {"Findings of validation": ["reports/validation.json has more of each.", *parts]}


def main() -> None:
    config = params.stage("explore", ExploreParams)
    meta, report, table = params.read_json(META), params.read_json(REPORT), pd.read_parquet(CHECKED)
    if meta["env"] == "battery":
        times = pd.DatetimeIndex(table["timestamp"]).tz_localize("UTC")
        table["local"] = times.tz_convert(meta["timezone"])
        lead = tiles(numbers(table, meta, report))
        sections = market(table, meta, config) | signals(table, report, meta["signals"])
        sections |= findings(report, config.findings_listed)
    else:
        spread = np.quantile(table["return"], [0.05, 0.5, 0.95])
        kinds = {"observations": report["observation_space"], "actions": report["action_space"]}
        lead = tiles(kinds | {"return of random play": " / ".join(f"{x:.4g}" for x in spread)})
        about = "What a policy must beat; quantiles 5, 50 and 95 % above."
        figure = chart(charts.episodes(table), "Random play")
        sections = {f"Random play in {meta['env']}": [about, figure]}
    with params.atomic(PAGE) as draft:
        draft.write_text(page("The data at a glance", lead, sections), encoding="utf-8")
    print(f"explore: {PAGE}")


if __name__ == "__main__":
    main()
