"""Stage `validate`: fit to learn from? -> data/checked.parquet, reports/validation.json."""

from pathlib import Path
from typing import Annotated, Any

import checks
import leakage
import numpy as np
import pandas as pd
import pandera.pandas as pa
from pydantic import Field, NonNegativeInt, PositiveFloat

from shared import params

RAW = Path("data/raw")
CHECKED, REPORT = Path("data/checked.parquet"), Path("reports/validation.json")
Share = Annotated[float, Field(ge=0, le=1)]


class ValidateParams(params.Params):
    max_problem_share: Share
    max_gap_share: Share
    max_left_out: Share
    min_seasons: Annotated[int, Field(ge=2)]  # models of a season need two
    allow_negative: bool
    outlier_score: PositiveFloat
    max_covariate_leakage: Share
    listed: NonNegativeInt


def schema(covariates: list[str]) -> pa.DataFrameSchema:
    """What each readable row must satisfy."""
    known = pa.Check(lambda text: text != "", error="is missing")
    finite = pa.Check(lambda numbers: np.isfinite(numbers), error="is not finite")
    number = {name: pa.Column(float, finite, nullable=True) for name in covariates}
    columns = {
        "series_id": pa.Column(str, known),
        "timestamp": pa.Column("datetime64[ns]"),
        "value": pa.Column(float, finite),
        "problem": pa.Column(str),
    }
    return pa.DataFrameSchema(columns | number, strict=True)


def row_problems(table: pd.DataFrame, covariates: list[str]) -> pd.Series:
    """The reason why each row cannot be used, empty for good rows."""
    problems = table["problem"].copy()
    try:
        schema(covariates).validate(table[problems == ""], lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        for case in cases[cases["index"].isna()].itertuples():  # a whole column, not a row
            name = case.column or case.failure_case
            raise SystemExit(f"validate: column {name}: {case.check}") from None
        problems[cases["index"]] = (cases["column"] + ": " + cases["check"]).to_numpy()
    return problems


def usable_series(
    rows: pd.DataFrame, names: pd.Index, config: ValidateParams, meta: dict[str, Any], horizon: int
) -> tuple[pd.DataFrame, pd.DataFrame, checks.Evidence]:
    """Rows of series to learn from, the summary of all with `kept`, and what was found in them."""
    season, series = meta["season_length"], checks.summary(rows, names)
    ahead = max(horizon, meta.get("held_out") or 0)
    needed = max(config.min_seasons * season, checks.LEAST_POINTS) + ahead
    zeros = meta.get("gaps") == "zero"  # no row means no demand, so nothing is missing
    short = series["span" if zeros else "points"] < needed
    below = rows[(rows["value"] < 0) & (not config.allow_negative)]
    series["gappy"] = (series["missing"] > config.max_gap_share * series["span"]) & (not zeros)
    series["kept"] = ~(short | series["gappy"] | series.index.isin(below["series_id"]))
    kept = series[series["kept"]]
    usable = rows[rows["series_id"].isin(kept.index)]
    same, zero = kept["low"] == kept["high"], kept["low"] == 0
    always = [f"always {value:.6g}" for value in kept["low"]]
    length = series["points"].astype(str) + f" points, {needed} are needed: left out"
    then = ": zeros, with the covariates before them" if zeros and meta["covariates"] else ""
    found = {
        "too_short": checks.of_series(series, short, length),
        "gaps": checks.gaps(rows, series, meta["frequency"], then),
        "negative": checks.of_rows(below, "below zero: series left out"),
        "constant": checks.of_series(kept, same & ~zero, always),
        "all_zero": checks.of_series(kept, same & zero, "always 0"),
        "outliers": checks.outliers(usable, season, config.outlier_score),
        "covariate_missing": checks.missing_covariates(usable, meta["covariates"]),
    }
    return usable, series, found


def examine(
    table: pd.DataFrame, config: ValidateParams, meta: dict[str, Any], horizon: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The report, with the reasons to stop under `stops`, and the usable rows of usable series."""
    covariates, limit = meta["covariates"], config.max_covariate_leakage
    rows, found = checks.usable_rows(table, row_problems(table, covariates), meta["frequency"])
    names = table["series_id"].unique()
    usable, series, more = usable_series(rows, pd.Index(names[names != ""]), config, meta, horizon)
    leaks, leaky = leakage.evidence(usable, covariates, meta["season_length"], horizon, limit)
    found |= more | {"covariate_leakage": leaks}
    wrong = sum(len(found[name]) for name in ("unreadable", "duplicate_times", "irregular"))
    report: dict[str, Any] = {
        "rows": len(table),
        "usable_rows": len(usable),
        "series": len(series),
        "usable_series": int(series["kept"].sum()),
        "problem_share": wrong / max(len(table), 1),
        "gap_share": float(series["missing"].sum() / max(series["span"].sum(), 1)),
        "left_out_share": float(1 - series["kept"].mean()) if len(series) else 1.0,
        "checks": {name: evidence["series_id"].nunique() for name, evidence in found.items()},
        "findings": {name: checks.findings(rows, config.listed) for name, rows in found.items()},
    }
    return report | {"stops": stops(report, config, leaky)}, usable.drop(columns="step")


def stops(report: dict[str, Any], config: ValidateParams, leaky: list[str]) -> list[str]:
    """One line per limit that the data break, naming the parameter."""
    found = [] if report["usable_series"] else ["no usable series is left"]
    for key, limit in (("problem_share", "max_problem_share"), ("left_out_share", "max_left_out")):
        if report[key] > getattr(config, limit):
            found.append(f"{key} {report[key]:.3f} above validate.{limit}")
    if leaky:
        found.append(f"above validate.max_covariate_leakage: {', '.join(leaky)}")
    return [f"{line}; see {REPORT}" for line in found]


def number(section: dict[str, Any], name: str) -> int:
    """A number of steps of section `prepare`, which series have beyond what is learnt from."""
    if type(steps := section.get(name)) is not int or steps < 1:
        raise SystemExit(f"params.yaml: prepare.{name}: give a number of steps (given: {steps})")
    return steps


def main() -> None:
    config = params.stage("validate", ValidateParams)
    section = params.load_yaml("params.yaml").get("prepare") or {}
    horizon = number(section, "horizon")
    table, meta = pd.read_parquet(RAW / "series.parquet"), params.read_json(RAW / "meta.json")
    meta["gaps"], held_out = section.get("gaps"), section.get("held_out")
    meta["held_out"] = held_out and number(section, "held_out")
    report, usable = examine(table, config, meta, horizon)
    params.write_json(REPORT, report)
    with params.atomic(CHECKED) as draft:
        usable.to_parquet(draft, index=False)
    if report["stops"]:
        raise SystemExit("\n".join(f"validate: {line}" for line in report["stops"]))
    kept = f"{report['usable_series']} of {report['series']} series"
    print(f"validate: {kept}, {len(usable)} of {len(table)} rows usable -> {CHECKED}, {REPORT}")


if __name__ == "__main__":
    main()
