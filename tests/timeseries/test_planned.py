"""Planned covariates are read as the data were: ids are text, times are local."""

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import planned
import pytest

HEAD = "series_id,timestamp,price\n"


def covariates(path: Path, *names: str) -> np.ndarray | None:
    """Of two days after the first of July, in Berlin."""

    def next_steps(last: datetime, horizon: int) -> np.ndarray:
        return np.datetime64(last, "us") + np.arange(1, horizon + 1) * np.timedelta64(1, "D")

    predictor: Any = SimpleNamespace(next_steps=next_steps)
    rows = [{"series_id": name, "last": datetime(2026, 7, 1)} for name in names]
    return planned.covariates(predictor, rows, 2, planned.read(path, ["price"], "Europe/Berlin"))


def test_ids_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "planned.csv"
    lines = [
        f"{name},2026-07-0{day},{day}{i}"
        for i, name in enumerate(["1", "01", "NA"])
        for day in (2, 3)
    ]
    path.write_text(HEAD + "\n".join(lines) + "\n")
    found = covariates(path, "01", "NA", "1")
    assert found is not None and found[:, :, 0].tolist() == [[21, 31], [22, 32], [20, 30]]
    with pytest.raises(SystemExit, match=r"has nothing for 1\.0 at 2026-07-02"):
        covariates(path, "1.0")


def test_times_with_an_offset_are_local_ones(tmp_path: Path) -> None:
    path = tmp_path / "planned.csv"
    path.write_text(HEAD + "a,2026-07-01T22:00:00Z,5\na,2026-07-03T00:00:00+02:00,6\n")
    found = covariates(path, "a")
    assert found is not None and found[0, :, 0].tolist() == [5, 6]


def test_a_parquet_file_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "planned.parquet"
    times = pd.to_datetime(["2026-07-02", "2026-07-03"])
    pd.DataFrame({"series_id": ["a", "a"], "timestamp": times, "price": [5, 6]}).to_parquet(path)
    found = covariates(path, "a")
    assert found is not None and found[0, :, 0].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("series_id,timestamp\na,2026-07-02\n", r"missing columns \['price'\]"),
        (HEAD + "a,2026-07-02,x\na,2026-07-03,6\n", "has nothing for a at 2026-07-02"),
        (HEAD + "a,tomorrow,5\na,2026-07-03,6\n", "has nothing for a at 2026-07-02"),
        ("", "neither CSV nor Parquet"),
    ],
)
def test_what_is_missing_or_unreadable_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "planned.csv"
    path.write_text(text)
    with pytest.raises(SystemExit, match=told):
        covariates(path, "a")
