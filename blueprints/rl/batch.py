"""Back-test a file of prices -> Parquet: power, charge, money and guards of every step.

    python batch.py result.parquet prices.csv
    python batch.py result.parquet                  the prices that `ingest` read

The first week is only looked at. A step without a price is paid at that of the same time a day
before, as training fills it. A run that was stopped goes on where it was when the same command is
given again. The result appears, and replaces an older one, only when it is complete.
"""

import argparse
import hashlib
import itertools
import shutil
from pathlib import Path
from typing import Any

import backtest
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from checks import on_grid, usable_rows
from predictor import Predictor
from sources import read_file
from tqdm import tqdm

from shared import params, provenance

EXPORT, RAW = Path(__file__).parent / "export", Path(__file__).parent / "data/raw"
CHUNK = 2000  # steps at a time: what a kill costs
Row = tuple[Any, ...]


def prices(source: Path | None, predictor: Predictor) -> pd.DataFrame:
    """timestamp, price and signals at every step; NaN where there is none, which a guard meets."""
    meta = predictor.meta
    if source is None:
        table = pd.read_parquet(RAW / "prices.parquet")
    else:
        table = read_file(source, tuple(meta["signals"]), meta["timezone"])
        table = table.sort_values("timestamp", kind="stable", ignore_index=True)
    rows, left = usable_rows(table, meta["day"])
    unusable = sum(len(found) for found in left.values())
    if unusable:
        print(f"batch: {unusable} rows are unreadable, repeated or off the grid: as if not there")
    if len(rows) < 2:
        raise SystemExit("batch: fewer than two rows are usable")
    grid = on_grid(rows, meta["day"])
    if len(grid) <= predictor.window:
        raise SystemExit(
            f"batch: {len(grid)} steps; more than {predictor.window} (a week) are needed"
        )
    unknown = grid["price"].notna().rolling(predictor.window).sum() == 0
    if unknown.any():
        end = grid["timestamp"][unknown.idxmax()]
        raise SystemExit(
            f"batch: no price is known in the week up to {end}; split the file at this gap"
        )
    return grid


def mark(table: pd.DataFrame, charge: float) -> str:
    """Names the question: the same model, prices and charge give the same answer."""
    digest = hashlib.sha256(provenance.file_hash(*provenance.model_files(EXPORT)).encode())
    digest.update(f"{charge} {list(table.columns)}".encode())
    digest.update(np.ascontiguousarray(table.drop(columns="timestamp").to_numpy(float)).tobytes())
    digest.update(str(table["timestamp"].iloc[0]).encode())
    return digest.hexdigest()[:16]


def chunk(
    predictor: Predictor, table: pd.DataFrame, first: int, charge: float, before: float
) -> pd.DataFrame:
    """CHUNK steps from place `first` on, with what was known in the week before."""
    part = table[first - predictor.window + 1 : first + CHUNK]
    names = predictor.meta["signals"]
    signals = part[names].to_numpy(float) if names else None
    start = part["timestamp"].iloc[0].tz_localize("UTC").to_pydatetime()
    found = backtest.run(predictor, part["price"].to_numpy(), start, charge, before, signals)
    rows: list[Row] = list(itertools.islice(found, CHUNK))
    result = pd.DataFrame(rows, columns=list(backtest.COLUMNS))
    now = part[predictor.window - 1 :].reset_index(drop=True)
    return pd.concat([now[["timestamp", "price"]], result], axis=1)


def run(result: Path, predictor: Predictor, table: pd.DataFrame, charge: float) -> pd.DataFrame:
    """Trade what the folder beside `result` does not have yet, put all in one."""
    parts = result.with_name(f"{result.name}.parts")
    folder = parts / mark(table, charge)
    if not folder.exists():
        shutil.rmtree(parts, ignore_errors=True)
        folder.mkdir(parents=True)
    before, paths = 0.0, []
    for first in tqdm(range(predictor.window - 1, len(table), CHUNK), desc="batch", unit="chunk"):
        path = folder / f"{first:09d}.parquet"
        if not path.exists():
            with params.atomic(path) as draft:
                chunk(predictor, table, first, charge, before).to_parquet(draft, index=False)
        last = pq.read_table(path).to_pandas().iloc[-1]
        charge, before = float(last["charge_mwh"]), float(last["power_mw"])
        paths.append(path)
    whole = pa.concat_tables(pq.read_table(path) for path in paths)
    with params.atomic(result) as draft:
        pq.write_table(whole, draft)
    shutil.rmtree(parts)
    return whole.select(["price", "earned", "source"]).to_pandas()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path, help="file to write: .parquet")
    parser.add_argument("prices", type=Path, nargs="?", help="CSV or Parquet: timestamp,price")
    parser.add_argument("--charge", type=float, default=0.0, help="MWh at the start (default: 0)")
    given = parser.parse_args()
    if given.result.suffix != ".parquet" or given.result.is_dir():
        parser.error(f"{given.result} must be a file that ends in .parquet")
    if given.prices is not None and not given.prices.is_file():
        parser.error(f"{given.prices} does not exist")
    if given.prices is not None and given.prices.resolve() == given.result.resolve():
        parser.error(f"{given.result} is the file of prices: name another for the result")
    if not (EXPORT / "model.json").is_file():
        parser.error(f"{EXPORT} has no model; run dvc repro")
    return given


def main() -> None:
    given, predictor = arguments(), Predictor(EXPORT)
    if not predictor.trades:
        raise SystemExit("batch: this policy was trained in an environment without prices")
    if not 0 <= given.charge <= predictor.battery.energy_mwh:
        limit = predictor.battery.energy_mwh
        raise SystemExit(f"batch: --charge: {given.charge:g} is not from 0 to {limit:g}")
    try:
        found = run(given.result, predictor, prices(given.prices, predictor), given.charge)
    except OSError as error:
        reason = f"{error.filename or given.result}: {error.strerror or error}"
        raise SystemExit(f"batch: {reason}; when it is mended, the same command goes on") from None
    except KeyboardInterrupt:
        raise SystemExit("batch: stopped; the same command goes on") from None
    safe, unknown = int((found["source"] == "safe").sum()), int(found["price"].isna().sum())
    at = f" ({unknown} without a price, paid at that of a day before)" if unknown else ""
    profit = f"profit {found['earned'].sum():,.2f}, {safe} safe actions"
    print(f"batch: {len(found)} steps{at}, {profit} -> {given.result}")


if __name__ == "__main__":
    main()
