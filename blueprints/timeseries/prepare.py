"""Stage `prepare`: fill, split by time, features -> data/prepared/, reports/reference.json."""

import shutil
from pathlib import Path
from typing import Any, Literal

import checks
import features
import frequency
import monitor
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import PositiveInt
from tqdm import tqdm

from shared import params

CHECKED, RAW, PREPARED = Path("data/checked.parquet"), Path("data/raw"), Path("data/prepared")
Calendar = Literal["month", "weekday", "hour"]
GROUP = 200  # series per part of the features file


class PrepareParams(params.Params):
    horizon: PositiveInt
    held_out: PositiveInt | None
    gaps: Literal["interpolate", "zero", "previous", "season"]
    outliers: Literal["keep", "replace"]
    calendar: tuple[Calendar, ...]

    @property
    def tested(self) -> int:
        """Steps at the end of every series that are the test."""
        return self.held_out or self.horizon


def fill(values: np.ndarray, policy: str, season_length: int) -> np.ndarray:
    """[t] values with their gaps (NaN) filled from what came before; `interpolate` looks ahead."""
    series = pd.Series(values)
    if policy == "zero":
        return series.fillna(0.0).to_numpy()
    if policy == "interpolate":
        series = series.interpolate(limit_area="inside")
    elif policy == "season":
        filled = series.to_numpy(copy=True)
        for i in np.flatnonzero(np.isnan(filled)):
            filled[i] = filled[i - season_length] if i >= season_length else np.nan
        series = pd.Series(filled)
    return series.ffill().bfill().to_numpy()


def completed(
    rows: pd.DataFrame, end: pd.Timestamp, meta: dict[str, Any], config: PrepareParams
) -> pd.DataFrame:
    """One series on every step of its grid: value, covariates, `filled`, `split`.

    The last `config.tested` steps are the test; the part before is filled without looking at them.
    Where no row means no demand, zeros are values like others, up to the `end` of all series. They
    have the covariates of the step before: missing ones would tell the model where nothing is sold.
    """
    index, zeros = rows.set_index("timestamp").drop(columns="series_id"), config.gaps == "zero"
    grid = frequency.grid(index.index[0], end if zeros else index.index[-1], meta["frequency"])
    table = index.reindex(grid).rename_axis("timestamp").reset_index()
    values, m = table["value"].to_numpy(copy=True), meta["season_length"]
    policy = config.gaps
    if zeros:  # what is still missing is an outlier taken away
        values[~grid.isin(index.index)], policy = 0.0, "interpolate"
    table["filled"] = np.isnan(values)
    train = len(values) - config.tested
    values[:train] = fill(values[:train], policy, m)
    table["value"] = fill(values, policy, m)
    table[meta["covariates"]] = table[meta["covariates"]].ffill().bfill()
    table["split"] = np.where(np.arange(len(values)) < train, "train", "test")
    table.insert(0, "series_id", rows["series_id"].iloc[0])
    return table


def without_outliers(table: pd.DataFrame, tested: int, meta: dict[str, Any]) -> pd.DataFrame:
    """Training rows that `validate` calls outliers lose their value, to be filled as gaps are."""
    held_out = table.groupby("series_id").cumcount(ascending=False) < tested
    score = params.load_yaml("params.yaml")["validate"]["outlier_score"]
    rows = table[~held_out].reset_index(drop=True)
    rows["step"] = frequency.steps(rows["timestamp"], meta["frequency"])[0]
    found = checks.outliers(rows, meta["season_length"], score)
    keys = pd.MultiIndex.from_frame(found[["series_id", "timestamp"]])
    wrong = pd.MultiIndex.from_frame(table[["series_id", "timestamp"]]).isin(keys)
    return table.assign(value=table["value"].mask(wrong))


def known(series: pd.DataFrame, season_length: int) -> pa.Table:
    """The features of one series at every step from the second season on."""
    values, times = series["value"].to_numpy(), series["timestamp"]
    lengths = np.arange(min(max(2 * season_length, 4), len(values)), len(values) + 1)
    found = features.origins(values, season_length, lengths)
    recent, last = found.pop("recent"), times.iloc[lengths - 1]
    moments = pa.array(last.dt.tz_localize("UTC").astype("datetime64[us, UTC]"))
    width = recent.shape[1]
    offsets = pa.array(np.arange(0, recent.size + 1, width, dtype=np.int32))
    columns = {
        "series_id": pa.array([series["series_id"].iloc[0]] * len(lengths)),
        "event_timestamp": moments,
        "recent": pa.ListArray.from_arrays(offsets, pa.array(recent.ravel())),
        "last": moments,
    }
    return pa.table(columns | {name: pa.array(values) for name, values in found.items()})


def write(table: pd.DataFrame, meta: dict[str, Any], config: PrepareParams) -> None:
    """series.parquet and features.parquet, some series at a time."""
    end = table["timestamp"].max()
    groups = [rows for _, rows in table.groupby("series_id", sort=True)]
    writers: dict[str, pq.ParquetWriter] = {}
    for first in tqdm(range(0, len(groups), GROUP), desc="prepare", unit=f"{GROUP} series"):
        whole = [completed(rows, end, meta, config) for rows in groups[first : first + GROUP]]
        parts = {
            "series": pa.Table.from_pandas(pd.concat(whole), preserve_index=False),
            "features": pa.concat_tables(known(part, meta["season_length"]) for part in whole),
        }
        for name, part in parts.items():
            if name not in writers:
                writers[name] = pq.ParquetWriter(PREPARED / f"{name}.parquet", part.schema)
            writers[name].write_table(part)
    for writer in writers.values():
        writer.close()


def main() -> None:
    config = params.stage("prepare", PrepareParams)
    table, meta = pd.read_parquet(CHECKED), params.read_json(RAW / "meta.json")
    if config.outliers == "replace":
        table = without_outliers(table, config.tested, meta)
    shutil.rmtree(PREPARED, ignore_errors=True)  # a killed run may have left drafts
    PREPARED.mkdir(parents=True)
    write(table, meta, config)
    meta |= {"horizon": config.horizon, "calendar": config.calendar}
    meta["negative"] = bool((table["value"] < 0).any())
    params.write_json(PREPARED / "meta.json", meta)
    params.write_json("reports/reference.json", monitor.reference(PREPARED / "features.parquet"))
    print(f"prepare: {table['series_id'].nunique()} series -> {PREPARED}")


if __name__ == "__main__":
    main()
