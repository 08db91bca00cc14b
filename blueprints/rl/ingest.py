"""Stage `ingest`: the sample or the user's own prices -> data/raw/prices.parquet, meta.json.

An environment without prices (env.id in params.yaml) has only the meta.json.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from pydantic import PositiveInt, field_validator
from sources import read_file, read_sample

from shared import params

RAW = Path("data/raw")
SHORTEST, LONGEST = 1 / 12, 6.0  # hours of a step: the policy sees a day of them


class IngestParams(params.Params):
    source: str
    point: str
    signals: tuple[str, ...]
    timezone: str
    limit: PositiveInt | None

    @field_validator("timezone")
    @classmethod
    def exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (LookupError, OSError, ValueError):
            raise ValueError("unknown time zone") from None
        return name

    @field_validator("signals")
    @classmethod
    def are_new_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        taken = {"timestamp", "price", "problem", "hour", "weekend", "split", "local", ""}
        if len(set(names) - taken) < len(names):
            raise ValueError(f"a name is given twice or one of {sorted(taken - {''})}")
        return names


def read_source(config: IngestParams) -> pd.DataFrame:
    """The table that `ingest.source` names, sorted by time; rows without a time come last."""
    source = Path(config.source)
    if config.source == "sample":
        if config.signals:
            raise SystemExit("params.yaml: ingest.signals: the sample has none; give []")
        table = read_sample(source, config.point)
    elif source.is_file():
        table = read_file(source, config.signals, config.timezone)
    else:
        wanted = "neither `sample` nor a CSV or Parquet file"
        raise SystemExit(f"params.yaml: ingest.source: {config.source} is {wanted}")
    if (table["problem"] != "").all():
        raise SystemExit(f"ingest: {config.source}: no row is readable: {table['problem'].iloc[0]}")
    return table.sort_values("timestamp", kind="stable", ignore_index=True)


def step_hours(times: pd.Series) -> float:
    """The commonest distance of two rows; SystemExit where no day is a whole number of them."""
    distances = times.drop_duplicates().dropna().diff().dropna()
    if distances.empty:
        raise SystemExit("ingest: fewer than two moments are readable")
    hours = float(distances.mode()[0] / pd.Timedelta(hours=1))
    day = 24 / hours
    if not (SHORTEST - 1e-9 <= hours <= LONGEST) or abs(day - round(day)) > 1e-9:
        allowed = "steps of 5 minutes to 6 hours, of which a day is a whole number"
        raise SystemExit(f"ingest: rows are {hours:.6g} hours apart; the policy needs {allowed}")
    return hours


def main() -> None:
    config = params.stage("ingest", IngestParams)
    environment = params.load_yaml("params.yaml")["env"]["id"]
    RAW.mkdir(parents=True, exist_ok=True)
    if environment != "battery":
        params.write_json(RAW / "meta.json", {"env": environment})
        print(f"ingest: {environment} needs no prices")
        return
    table = read_source(config)
    if config.limit is not None:
        dated = table["timestamp"].notna()
        table = table[dated][-config.limit :].reset_index(drop=True)
    hours = step_hours(table["timestamp"])
    meta = {
        "env": environment,
        "source": Path(config.source).name,  # no machine's own folders in what is handed on
        "point": config.point if config.source == "sample" else None,
        "timezone": config.timezone,
        "signals": list(config.signals),
        "day": int(np.rint(24 / hours)),
    }
    with params.atomic(RAW / "prices.parquet") as draft:
        table.to_parquet(draft, index=False)
    params.write_json(RAW / "meta.json", meta)
    unreadable = int((table["problem"] != "").sum())
    print(f"ingest: {len(table)} rows, {unreadable} with problems, {hours:g} hours apart")


if __name__ == "__main__":
    main()
