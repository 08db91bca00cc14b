"""The Feast feature store: what was known of a series at a moment, for training and for serving.

    python store.py      put the newest features of every series into the online store

Offline is a Parquet file that `prepare` writes; online is what feature_store.yaml says. Training
asks for moments of the past (`at`), the service for the newest (`newest`).
"""

import os
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from tqdm import tqdm

HERE = Path(__file__).parent
FEATURES = Path("data/prepared/features.parquet")
VIEW = "series_history"
SCALARS = ["level", "change", "spread"]
NAMES = ["recent", "observations", *SCALARS]
ONLINE = Path("export/store")
MOMENTS = 2000  # asked for at once: the join's memory grows with them


def opened(folder: Path, source: Path = FEATURES) -> Any:
    """The store whose registry lies in `folder`, with the definitions below applied."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.types import Array, Float64, Int64, UnixTimestamp
    from feast.value_type import ValueType

    folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((HERE / "feature_store.yaml").read_text(encoding="utf-8"))
    if folder == ONLINE:  # a service reads the online half only, and so needs no DuckDB
        config["offline_store"] = {"type": "file"}
    path = str(source if folder == ONLINE else source.resolve())
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    store = FeatureStore(repo_path=str(folder))
    series = Entity(name="series", join_keys=["series_id"], value_type=ValueType.STRING)
    types: dict[str, Any] = {"recent": Array(Float64), "observations": Int64}
    types |= dict.fromkeys(SCALARS, Float64) | {"last": UnixTimestamp}
    view = FeatureView(
        name=VIEW,
        entities=[series],
        ttl=timedelta(0),  # a series that ended long ago still has a newest row
        schema=[Field(name=name, dtype=kind) for name, kind in types.items()],
        source=FileSource(path=path, timestamp_field="event_timestamp"),
    )
    store.apply([series, view])
    return store


def at(store: Any, series_id: np.ndarray, timestamps: np.ndarray) -> pd.DataFrame:
    """Features as they were known at each (series, timestamp): series_id, event_timestamp, NAMES.

    Rows come in the order asked for, which should be that of the series.
    """
    moments = pd.to_datetime(timestamps, utc=True)
    asked = pd.DataFrame({"series_id": series_id, "event_timestamp": moments})
    keys, names = list(asked), [f"{VIEW}:{name}" for name in NAMES]
    unique, parts = asked.drop_duplicates(), []
    for first in tqdm(range(0, len(unique), MOMENTS), desc="features", unit=f"{MOMENTS} moments"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of ibis about DuckDB
            part = unique.iloc[first : first + MOMENTS]
            parts.append(store.get_historical_features(part, names).to_df())
    return asked.merge(pd.concat(parts), how="left", on=keys, validate="many_to_one")


def materialise(store: Any, source: Path = FEATURES) -> int:
    """Put the newest row of every series into the online store; gives the number of series."""
    newest = newest_rows(source)
    store.write_to_online_store(VIEW, newest)
    return len(newest)


def newest_rows(source: Path) -> pd.DataFrame:
    """The last row of each series in the offline file, read in parts."""
    parts = pq.ParquetFile(source).iter_batches(50_000)
    last = [part.to_pandas().drop_duplicates("series_id", keep="last") for part in parts]
    return pd.concat(last).drop_duplicates("series_id", keep="last").reset_index(drop=True)


def newest(store: Any, series_id: list[str]) -> list[dict[str, Any]]:
    """What the online store has of the series, in their order: series_id, NAMES and `last`, the
    newest timestamp. A series that it does not know is left out.
    """
    names = [f"{VIEW}:{name}" for name in [*NAMES, "last"]]
    found = store.get_online_features(names, [{"series_id": name} for name in series_id]).to_dict()
    rows = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return [
        row | {"last": pd.Timestamp(row["last"]).tz_localize(None)}
        for row in rows
        if row["recent"] is not None
    ]


def version(store: Any) -> int:
    """A number that changes when what is online may have changed.

    SQLite's file tells; what other stores have counts as new every minute.
    """
    path = getattr(store.config.online_store, "path", None)
    file = store.repo_path / path if path else None
    return int(file.stat().st_mtime_ns if file else time.monotonic() / 60)


def reading(folder: Path) -> Any:
    """The store in an exported folder, for reading only."""
    from feast import FeatureStore

    return FeatureStore(repo_path=str(folder))


def main() -> None:
    os.chdir(HERE)
    number = materialise(opened(ONLINE))
    print(f"store: the newest features of {number} series are online")


if __name__ == "__main__":
    main()
