"""Forecast every trained series from the online store -> Parquet, one row per series and step.

    python batch.py forecasts.parquet
    python batch.py forecasts.parquet --covariates planned.csv     series_id,timestamp,<covariates>

A run that was stopped goes on where it was when the same command is given again. The result
appears, and replaces an older one, only when it is complete.
"""

import argparse
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import planned
import pyarrow as pa
import pyarrow.parquet as pq
import store
from predictor import Predictor
from tqdm import tqdm

from shared import params, provenance
from shared.guards import BadInput

EXPORT = Path(__file__).parent / "export"
CHUNK = 200  # series at a time: bounds memory, and what a kill costs
Rows = list[dict[str, Any]]


def newest(online: Any, names: list[str]) -> Rows:
    """What the online store has of the series; those it has nothing of are left out."""
    parts = [names[i : i + CHUNK] for i in range(0, len(names), CHUNK)]
    return [row for part in tqdm(parts, desc="features") for row in store.newest(online, part)]


def current(predictor: Predictor, rows: Rows) -> Rows:
    """The rows that are not older than the model."""
    fresh = predictor.new_values(rows) >= 0
    return [row for row, good in zip(rows, fresh, strict=True) if good]


def forecasts(predictor: Predictor, rows: Rows, horizon: int, given: Any) -> pd.DataFrame:
    """series_id, timestamp, mean, lower_L and upper_L per level, model."""
    levels = predictor.meta["levels"]
    answers = predictor.forecast(predictor.known(rows), horizon, levels, given)
    parts = []
    for row, found in zip(rows, answers, strict=True):
        columns = {"series_id": row["series_id"], "timestamp": pd.to_datetime(found.timestamps)}
        columns |= {"mean": found.mean}
        for level, (lower, upper) in found.intervals.items():
            columns |= {f"lower_{level}": lower, f"upper_{level}": upper}
        parts.append(pd.DataFrame(columns | {"model": found.model}))
    return pd.concat(parts, ignore_index=True)


def mark(predictor: Predictor, rows: Rows, horizon: int, given: Path | None) -> str:
    """Names the question: the same model, moments and covariates give the same answer."""
    files = provenance.model_files(EXPORT) + ([given] if given else [])
    text = f"{provenance.file_hash(*files)} {horizon} "
    digest = hashlib.sha256(text.encode())
    for row in rows:
        digest.update(f"{row['series_id']}@{row['last']}".encode())
        digest.update(np.asarray(row["recent"], float).tobytes())
    return digest.hexdigest()[:16]


def run(result: Path, predictor: Predictor, rows: Rows, horizon: int, given: Path | None) -> int:
    """Forecast what the folder beside `result` does not have yet, put all in one; rows written."""
    names = predictor.meta["covariates"]
    if bool(names) != bool(given):
        what = f"the model needs {names}" if names else "the model was trained without any"
        raise SystemExit(f"batch: --covariates: {what}")
    table = planned.read(given, names, predictor.meta["timezone"]) if given else None
    parts = result.with_name(f"{result.name}.parts")
    folder = parts / mark(predictor, rows, horizon, given)
    if not folder.exists():
        shutil.rmtree(parts, ignore_errors=True)
        folder.mkdir(parents=True)
    chunks = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    paths = [folder / f"{i:06d}.parquet" for i in range(len(chunks))]
    for path, chunk in zip(tqdm(paths, desc="batch", unit=f"{CHUNK} series"), chunks, strict=True):
        if not path.exists():
            future = planned.covariates(predictor, chunk, horizon, table)
            with params.atomic(path) as draft:
                forecasts(predictor, chunk, horizon, future).to_parquet(draft, index=False)
    schema = pq.read_schema(paths[0])
    with params.atomic(result) as draft, pq.ParquetWriter(draft, schema) as writer:
        for path in paths:
            part: pa.Table = pq.read_table(path)
            writer.write_table(part)
    shutil.rmtree(parts)
    return len(rows) * horizon


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, help="file to write: .parquet")
    parser.add_argument("--horizon", type=int, help="steps ahead (default: as trained)")
    parser.add_argument("--covariates", type=Path, help="future values: CSV or Parquet")
    parser.add_argument(
        "--store", type=Path, default=EXPORT / "store", help="feature store's folder"
    )
    given = parser.parse_args()
    if given.result.suffix != ".parquet" or given.result.is_dir():
        parser.error(f"{given.result} must be a file that ends in .parquet")
    if given.covariates is not None and given.covariates.resolve() == given.result.resolve():
        parser.error(f"{given.result} is the file of covariates: name another for the result")
    if not (EXPORT / "model.json").is_file():
        parser.error(f"{EXPORT} has no model; run dvc repro")
    return given


def main() -> None:
    given, predictor = arguments(), Predictor(EXPORT, threads=2)
    horizon = predictor.horizon if given.horizon is None else given.horizon
    if not 1 <= horizon <= predictor.horizon:
        raise SystemExit(f"batch: --horizon: {horizon} is not from 1 to {predictor.horizon}")
    names = predictor.meta["series"]
    try:
        rows = newest(store.reading(given.store), names)
        rows = current(predictor, rows) if rows else rows
        if not rows:
            raise SystemExit(f"batch: {given.store} knows nothing new; run python store.py")
        number = run(given.result, predictor, rows, horizon, given.covariates)
    except BadInput as error:
        raise SystemExit(f"batch: {error}") from None
    except OSError as error:
        reason = f"{error.filename or given.result}: {error.strerror or error}"
        raise SystemExit(f"batch: {reason}; when it is mended, the same command goes on") from None
    except KeyboardInterrupt:
        raise SystemExit("batch: stopped; the same command goes on") from None
    left = len(names) - len(rows)
    print(
        f"batch: {len(rows)} series, {number} rows, {left} not known or too old -> {given.result}"
    )


if __name__ == "__main__":
    main()
