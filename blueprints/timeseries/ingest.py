"""Stage `ingest`: the sample or the user's own series -> data/raw/series.parquet, meta.json."""

from pathlib import Path
from zoneinfo import ZoneInfo

import calendars
import frequency as frequencies
import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, PositiveInt, field_validator
from sources import REQUIRED, read_file, read_sample

from shared import params

RAW = Path("data/raw")


MOST_STEPS = 200  # of a season: the features of each moment hold four seasons


class IngestParams(params.Params):
    source: str
    frequency: str | None
    season_length: PositiveInt | None
    covariates: tuple[str, ...]
    timezone: str
    limit: PositiveInt | None
    seed: NonNegativeInt

    @field_validator("frequency")
    @classmethod
    def has_a_grid(cls, name: str | None) -> str | None:
        if name:
            name = frequencies.parse(name).freqstr
            calendars.parse(name)  # which the service counts in
        return name

    @field_validator("timezone")
    @classmethod
    def exists(cls, name: str) -> str:
        try:
            pd.Timestamp(0, tz="UTC").tz_convert(name or "none")
            ZoneInfo(name)  # of the service
        except (LookupError, OSError, ValueError):  # pytz and zoneinfo have errors of their own
            raise ValueError("unknown time zone") from None
        return name

    @field_validator("covariates")
    @classmethod
    def are_new_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names) - {*REQUIRED, "problem", ""}) < len(names):
            raise ValueError("a name is given twice or is a column of every table")
        return names


def read_source(config: IngestParams) -> pd.DataFrame:
    """The long table that `ingest.source` names, sorted by series and time."""
    source = Path(config.source)
    if config.source == "sample":
        if config.covariates:
            raise SystemExit("params.yaml: ingest.covariates: the sample has none; give []")
        table = read_sample(source)
    elif source.is_file():
        table = read_file(source, config.covariates, config.timezone)
    else:
        wanted = "neither `sample` nor a CSV or Parquet file"
        raise SystemExit(f"params.yaml: ingest.source: {config.source} is {wanted}")
    if (table["problem"] != "").all():
        raise SystemExit(f"ingest: {config.source}: no row is readable: {table['problem'][0]}")
    return table.sort_values(["series_id", "timestamp"], kind="stable", ignore_index=True)


def subset(table: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """At most `limit` whole series; rows without a series are in no subset."""
    names = [name for name in table["series_id"].unique() if name]
    if limit is None or limit >= len(names):
        return table
    drawn = np.random.default_rng(seed).choice(names, limit, replace=False)
    return table[table["series_id"].isin(drawn)].reset_index(drop=True)


def find_frequency(table: pd.DataFrame, config: IngestParams) -> str:
    """The frequency given, else the one that the readable rows have."""
    found = config.frequency or frequencies.infer(table[table["problem"] == ""])
    if found is None:
        why = f"{config.source} has no common distance in time; give a pandas alias such as D"
        raise SystemExit(f"params.yaml: ingest.frequency: {why}")
    return found


def main() -> None:
    config = params.stage("ingest", IngestParams)
    table = subset(read_source(config), config.limit, config.seed)
    frequency = find_frequency(table, config)
    meta = {
        "frequency": frequency,
        "season_length": config.season_length or frequencies.season_length(frequency),
        "covariates": list(config.covariates),
        "timezone": config.timezone,
        "source": Path(config.source).name,  # no machine's own folders in what is handed on
    }
    if meta["season_length"] > MOST_STEPS:
        why = f"{meta['season_length']} steps are above {MOST_STEPS}; give fewer, or add up values"
        raise SystemExit(f"params.yaml: ingest.season_length: {why} to longer steps")
    with params.atomic(RAW / "series.parquet") as draft:
        table.to_parquet(draft, index=False)
    params.write_json(RAW / "meta.json", meta)
    names, unreadable = table["series_id"].nunique(), int((table["problem"] != "").sum())
    print(f"ingest: {names} series, {len(table)} rows, {unreadable} with problems, {frequency}")


if __name__ == "__main__":
    main()
