"""The table that a retraining learns from: what the service knew, and the steps that have come."""

import os
from pathlib import Path
from typing import Any

import frequency as frequencies
import monitor
import numpy as np
import pandas as pd
import store

from shared import params

KEY = ["series_id", "timestamp"]
Rows = list[dict[str, Any]]


def newest(folder: Path) -> dict[str, pd.Timestamp]:
    """What the service of the model in `folder` knows: the last timestamp of each series."""
    names = params.read_json(folder / "model.json")["series"]
    online = store.reading(Path(os.environ.get("FEATURE_STORE", folder / "store")))
    return {row["series_id"]: row["last"] for row in store.newest(online, names)}


def come(rows: Rows, covariates: list[str]) -> pd.DataFrame:
    """What has come since these forecasts, as a long table."""
    parts = []
    for row in rows:
        steps, truth = monitor.arrived(row)
        times = pd.to_datetime([row["timestamps"][i] for i in steps])
        columns = {"series_id": row["series_id"], "timestamp": times, "value": truth}
        columns |= {name: np.array(row["covariates"][name])[steps] for name in covariates}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def together(raw: pd.DataFrame, known: dict[str, pd.Timestamp], new: pd.DataFrame) -> pd.DataFrame:
    """The source's rows up to what the service knows of each series, and what has come since.

    known: the newest timestamp in the online store, by series; of others all rows stay.
    """
    end = raw["series_id"].map(known)
    table = pd.concat([raw[end.isna() | (raw["timestamp"] <= end)], new], ignore_index=True)
    return table.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True)


def with_zeros(
    raw: pd.DataFrame, known: dict[str, pd.Timestamp], frequency: str, covariates: list[str]
) -> pd.DataFrame:
    """The source's rows, and a zero on every step without one up to what the service knows.

    As `prepare.gaps: zero` has them, but no farther: what has not come yet is no zero. Covariates
    are those of the step before. Series that the service does not know end with the last of all.
    """
    rest = frequencies.steps(raw["timestamp"], frequency)[1]
    raw = raw[frequencies.on_grid(raw["series_id"], rest)]
    last, parts = raw["timestamp"].max(), [raw]
    for name, times in raw.groupby("series_id")["timestamp"]:
        steps = frequencies.grid(times.min(), known.get(name, last), frequency)
        missing = steps.difference(pd.DatetimeIndex(times))
        parts.append(pd.DataFrame({"series_id": name, "timestamp": missing, "value": 0.0}))
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    table = table.sort_values(KEY, kind="stable", ignore_index=True)
    if covariates:
        table[covariates] = table.groupby("series_id")[covariates].ffill()
    return table
