"""Covariates of the steps to come, from a file: series_id,timestamp and the columns of training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from predictor import Predictor


def read(path: Path, names: list[str]) -> pd.DataFrame:
    """Future covariates by series_id and timestamp."""
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        reason = " ".join(str(error).split())[:200]
        raise SystemExit(f"batch: {path}: neither CSV nor Parquet: {reason}") from None
    missing = sorted({"series_id", "timestamp", *names} - set(table))
    if missing:
        raise SystemExit(f"batch: {path}: missing columns {missing}")
    table["series_id"] = table["series_id"].astype(str)
    table["timestamp"] = pd.to_datetime(table["timestamp"], errors="coerce")
    return table.set_index(["series_id", "timestamp"])[names].sort_index()


def covariates(
    predictor: Predictor, rows: list[dict[str, Any]], horizon: int, table: pd.DataFrame | None
) -> np.ndarray | None:
    """[series, horizon, columns]; SystemExit names the first value that is missing."""
    if table is None:
        return None
    pairs = [
        (row["series_id"], time)
        for row in rows
        for time in pd.DatetimeIndex(predictor.next_steps(row["last"], horizon))
    ]
    found = table[~table.index.duplicated()].reindex(pd.MultiIndex.from_tuples(pairs))
    gaps = found.isna().any(axis=1)
    if gaps.any():
        series_id, time = found.index[gaps][0]
        raise SystemExit(f"batch: --covariates has nothing for {series_id} at {time}")
    return found.to_numpy(float).reshape(len(rows), horizon, -1)
