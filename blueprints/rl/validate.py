"""Stage `validate`: fit to learn from? -> data/checked.parquet, reports/validation.json.

Prices come out on a grid without holes in time, NaN where the source has none. An environment
without prices is checked itself, and played at random.
"""

from pathlib import Path
from typing import Annotated, Any

import checks
import numpy as np
import pandas as pd
import pandera.pandas as pa
import playable
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from shared import params

RAW = Path("data/raw")
CHECKED, REPORT = Path("data/checked.parquet"), Path("reports/validation.json")
Share = Annotated[float, Field(ge=0, le=1)]


class ValidateParams(params.Params):
    max_problem_share: Share
    max_gap_share: Share
    max_gap_hours: PositiveFloat
    min_days: PositiveFloat
    spike_deviations: PositiveFloat
    stuck_hours: PositiveFloat
    max_leakage: Share
    random_episodes: PositiveInt
    listed: NonNegativeInt


def schema(signals: list[str]) -> pa.DataFrameSchema:
    """What each readable row must satisfy."""
    finite = pa.Check(lambda numbers: np.isfinite(numbers), error="is not finite")
    columns = {"timestamp": pa.Column("datetime64[ns]"), "price": pa.Column(float, finite)}
    columns |= {name: pa.Column(float, finite) for name in signals}
    return pa.DataFrameSchema(columns | {"problem": pa.Column(str)}, strict=True)


def examine(
    table: pd.DataFrame, config: ValidateParams, meta: dict[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The report, with the reasons to stop under `stops`, and the prices on their grid."""
    signals, day = meta["signals"], meta["day"]
    try:
        schema(signals).validate(table[table["problem"] == ""], lazy=True)
    except pa.errors.SchemaErrors as error:
        case = error.failure_cases.iloc[0]
        raise SystemExit(f"validate: column {case['column']}: {case['check']}") from None
    rows, left = checks.usable_rows(table, day)
    if len(rows) < 2:
        counts = ", ".join(f"{len(found)} {name}" for name, found in left.items())
        raise SystemExit(f"validate: fewer than two of {len(table)} rows are usable: {counts}")
    grid = checks.on_grid(rows, day)
    missing = grid["price"].isna().to_numpy()
    found = {
        name: checks.evidence(rows["timestamp"], first_problem(rows, name), config.listed)
        for name, rows in left.items()
    }
    found |= of_prices(grid, config, meta)
    wrong = sum(len(left[name]) for name in ("unreadable", "conflicting", "irregular"))
    report: dict[str, Any] = {
        "rows": len(table),
        "steps": len(grid),
        "days": len(grid) / day,
        "problem_share": wrong / len(table),
        "gap_share": float(missing.mean()),
        "longest_gap_hours": checks.longest_run(missing) * 24 / day,
        "leakage": checks.leakage(grid, signals),
        "checks": {name: evidence["count"] for name, evidence in found.items()},
        "findings": found,
    }
    clocks = checks.between_hours(grid["timestamp"], meta["timezone"], day)
    return report | {"stops": stops(report, config) + clocks}, grid


def of_prices(
    grid: pd.DataFrame, config: ValidateParams, meta: dict[str, Any]
) -> dict[str, checks.Evidence]:
    """What is remarkable about the prices on their grid."""
    prices, day, number = grid["price"].to_numpy(), meta["day"], config.listed
    flags = {
        "gaps": (np.isnan(prices), "no price at this step"),
        "spikes": (checks.spikes(prices, config.spike_deviations), "kept: they are the business"),
        "negative": (prices < 0, "kept"),
        "stuck": (checks.stuck(prices, max(2, round(config.stuck_hours * day / 24))), "same price"),
    }
    found = {
        name: checks.evidence(grid["timestamp"][flag], detail, number)
        for name, (flag, detail) in flags.items()
    }
    changes = checks.clock_changes(grid["timestamp"], meta["timezone"], day)
    detail = "local days of other than 24 hours"
    return found | {"clock_changes": checks.evidence(changes, detail, number)}


def first_problem(rows: pd.DataFrame, reason: str) -> str:
    """What is wrong with the first of these rows."""
    text = str(rows["problem"].iloc[0]) if len(rows) else ""
    return text or f"{reason}: left out"


def stops(report: dict[str, Any], config: ValidateParams) -> list[str]:
    """One line per limit that the data break, naming the parameter."""
    limits = {
        "problem_share": config.max_problem_share,
        "gap_share": config.max_gap_share,
        "longest_gap_hours": config.max_gap_hours,
    }
    found = [
        f"{key} {report[key]:.3f} above validate.max_{key.removeprefix('longest_')}"
        for key, limit in limits.items()
        if report[key] > limit
    ]
    if report["days"] < config.min_days:
        found.append(f"{report['days']:.1f} days are below validate.min_days")
    for name, correlation in report["leakage"].items():
        if correlation > config.max_leakage:
            how = f"tells the next change of the price by {correlation:.2f}"
            found.append(f"signal {name} {how}, above validate.max_leakage")
    return [f"{line}; see {REPORT}" for line in found]


def main() -> None:
    config, meta = params.stage("validate", ValidateParams), params.read_json(RAW / "meta.json")
    if meta["env"] == "battery":
        table = pd.read_parquet(RAW / "prices.parquet")
        report, usable = examine(table, config, meta)
    else:
        report, usable = playable.examine(meta["env"], config.random_episodes)
    params.write_json(REPORT, report)
    with params.atomic(CHECKED) as draft:
        usable.to_parquet(draft, index=False)
    if report["stops"]:
        raise SystemExit("\n".join(f"validate: {line}" for line in report["stops"]))
    print(f"validate: {len(usable)} rows -> {CHECKED}, {REPORT}")


if __name__ == "__main__":
    main()
