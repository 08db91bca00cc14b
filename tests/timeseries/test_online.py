"""The service reads the online store as Feast does, without Feast."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import features
import numpy as np
import online
import pytest
import store

from .test_store import SERIES, written

SMALL = SERIES | {"häß'lich\"": np.linspace(-1e100, 1e-300, 12)}


@pytest.fixture
def written_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an online store, as `export` leaves it."""
    monkeypatch.chdir(tmp_path)
    source = written(tmp_path / "features.parquet", SMALL)
    store.materialise(store.opened(tmp_path / "online", source), source)
    return tmp_path / "online"


def as_text(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, sort_keys=True, default=datetime.isoformat)


def test_the_newest_features_are_those_that_feast_gives(written_store: Path) -> None:
    names = [*reversed(SMALL), "unknown", "S0"]
    right = store.newest(store.reading(written_store), names)
    found = online.reading(written_store).newest(names)
    assert [row["series_id"] for row in found] == [*reversed(SMALL), "S0"]
    assert as_text(found) == as_text(right)  # in which NaN equals NaN
    season = features.origins(SMALL["S0"], 4, np.array([20]))["recent"][0]
    assert found[-1]["recent"] == pytest.approx(season.tolist())


def test_the_version_changes_with_the_store(written_store: Path) -> None:
    before = online.reading(written_store).version()
    assert before == store.version(store.reading(written_store))
    more = written(written_store / "more.parquet", {"S9": np.arange(30.0)})
    store.materialise(store.opened(written_store, more), more)
    assert online.reading(written_store).version() != before
    assert len(online.reading(written_store).newest(["S9"])) == 1


def test_a_store_that_may_not_be_written_is_read(written_store: Path) -> None:
    for path in [*written_store.iterdir(), written_store]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert len(online.reading(written_store).newest(["S1"])) == 1
    written_store.chmod(0o755)


def test_another_kind_of_store_is_read_by_feast(
    written_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written_store / "feature_store.yaml"
    path.write_text(path.read_text().replace("type: sqlite", "type: redis"))
    monkeypatch.setattr(store, "reading", lambda folder: ("Redis of", folder))
    monkeypatch.setattr(store, "newest", lambda given, names: [given, names])
    assert online.reading(written_store).newest(["S1"]) == [("Redis of", written_store), ["S1"]]


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**62, -1, -(2**62)])
def test_integers_are_decoded_as_protobuf_encodes_them(number: int) -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    assert online.decoded(Value(int64_val=number).SerializeToString()) == number
    assert online.decoded(Value(double_val=number / 3).SerializeToString()) == number / 3
    assert online.decoded(Value().SerializeToString()) is None
