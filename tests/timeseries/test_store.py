"""Training and service see the same features: offline store, online store, and code agree."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import features
import numpy as np
import pandas as pd
import prepare
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import store

M = 4
META: dict[str, Any] = {"frequency": "MS", "season_length": M, "covariates": []}


def written(path: Path, series: dict[str, np.ndarray]) -> Path:
    """features.parquet of some monthly series from January 2020 on, as `prepare` writes it."""
    tables = [
        prepare.known(
            pd.DataFrame(
                {
                    "series_id": name,
                    "timestamp": pd.date_range("2020-01-01", periods=len(values), freq="MS"),
                    "value": values,
                }
            ),
            M,
        )
        for name, values in series.items()
    ]
    pq.write_table(pa.concat_tables(tables), path)
    return path


SERIES = {f"S{i}": 10 + np.random.default_rng(i).normal(0, 1, 20 + 5 * i) for i in range(3)}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    base = tmp_path_factory.mktemp("store")
    source = written(base / "features.parquet", SERIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        yield store.opened(base / "registry", source), source


def moments(series: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    names = np.array(["S0", "S0", "S1", "S2", "S2"])
    lengths = [9, 20, 25, 11, 30]
    months = pd.date_range("2020-01-01", periods=40, freq="MS")
    return names, np.array([months[length - 1] for length in lengths]), lengths


def test_past_moments_have_the_features_of_their_histories(opened: tuple[Any, Path]) -> None:
    names, times, lengths = moments(SERIES)
    found = store.at(opened[0], names, times)
    assert found["series_id"].tolist() == names.tolist()
    for row, name, length in zip(found.to_dict("records"), names, lengths, strict=True):
        wanted = features.origins(SERIES[name][:length], M, np.array([length]))
        for key, values in wanted.items():
            np.testing.assert_array_equal(row[key], values[0], err_msg=f"{name} {length} {key}")


def test_the_online_store_has_the_newest_moment_to_the_bit(opened: tuple[Any, Path]) -> None:
    online, source = opened
    assert store.materialise(online, source) == 3
    rows = store.newest(online, ["S2", "unknown", "S0"])
    assert [row["series_id"] for row in rows] == ["S2", "S0"]
    for row in rows:
        values = SERIES[row["series_id"]]
        last = pd.date_range("2020-01-01", periods=len(values), freq="MS")[-1]
        assert row["last"] == last
        past = store.at(online, np.array([row["series_id"]]), np.array([last])).iloc[0]
        wanted = features.origins(values, M, np.array([len(values)]))
        for key, expected in wanted.items():
            np.testing.assert_array_equal(row[key], expected[0], err_msg=key)
            np.testing.assert_array_equal(row[key], past[key], err_msg=key)


def test_a_moment_between_two_steps_knows_the_earlier_one_only(opened: tuple[Any, Path]) -> None:
    between = store.at(opened[0], np.array(["S1"]), np.array([pd.Timestamp("2021-03-15")])).iloc[0]
    assert between["observations"] == 15
    np.testing.assert_array_equal(between["recent"][0], SERIES["S1"][14])


def test_what_came_later_changes_no_earlier_moment(
    opened: tuple[Any, Path], tmp_path: Path
) -> None:
    names, times, _ = moments(SERIES)
    later = {name: np.concatenate([values, [1e6, -1e6]]) for name, values in SERIES.items()}
    longer = store.opened(tmp_path / "registry", written(tmp_path / "longer.parquet", later))
    pd.testing.assert_frame_equal(store.at(opened[0], names, times), store.at(longer, names, times))


def test_old_short_and_oddly_named_series_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Ids that look like numbers or are no ASCII; times before 1970; fewer than four seasons."""
    names = ["007", "7", "Käse, 1 kg", "a" * 200]
    tables = []
    for i, name in enumerate(names):
        times = pd.date_range("1950-01-01T06:30", periods=9 + i, freq="D")
        values = np.arange(9.0 + i) - 3
        series = pd.DataFrame({"series_id": name, "timestamp": times, "value": values})
        tables.append(prepare.known(series, M))
    source = tmp_path / "features.parquet"
    pq.write_table(pa.concat_tables(tables), source)
    online = store.opened(tmp_path / "registry", source)
    assert store.materialise(online, source) == 4
    for i, row in enumerate(store.newest(online, names)):
        last = pd.Timestamp("1950-01-01T06:30") + pd.Timedelta(days=8 + i)
        assert (row["series_id"], row["last"], row["observations"]) == (names[i], last, 9 + i)
        wanted = features.origins(np.arange(9.0 + i) - 3, M, np.array([9 + i]))["recent"][0]
        np.testing.assert_array_equal(row["recent"], wanted)
        past = store.at(online, np.array([names[i]]), np.array([last])).iloc[0]
        np.testing.assert_array_equal(past["recent"], wanted)
    before = store.at(online, np.array(["7"]), np.array([pd.Timestamp("1949-01-01")])).iloc[0]
    assert np.isnan(before["observations"])
