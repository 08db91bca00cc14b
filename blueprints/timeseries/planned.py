"""Covariates of the steps to come, from a file: series_id,timestamp and the columns of training."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sources
from predictor import Predictor


def read(path: Path, names: list[str], timezone: str) -> pd.DataFrame:
    """Future covariates by series_id and timestamp, which are read as `ingest` reads them: `007` is
    an id, and a time with an offset becomes that of `timezone`."""
    columns = ["series_id", "timestamp", *names]
    try:
        parquet = path.suffix == ".parquet"
        table = pq.ParquetFile(path).read() if parquet else sources.read_csv(path, columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise SystemExit(f"batch: {path}: neither CSV nor Parquet: {reason}") from None
    if missing := sorted(set(columns) - set(table.column_names)):
        raise SystemExit(f"batch: {path}: missing columns {missing}")
    given = {name: sources.typed(table, name, path) for name in columns}
    text, codes = sources.distinct(given["series_id"])
    found = pd.DataFrame({"series_id": text.to_numpy()[codes]})
    found["timestamp"], _ = sources.moments(given["timestamp"], timezone)
    for name in names:
        found[name], _ = sources.numbers(given[name], name, needed=False)
    return found.set_index(["series_id", "timestamp"])[names].sort_index()


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
