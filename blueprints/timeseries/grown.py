"""The table that a retraining learns from: what the service knew, and the steps that have come."""

from typing import Any

import monitor
import numpy as np
import pandas as pd

KEY = ["series_id", "timestamp"]
Rows = list[dict[str, Any]]


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
