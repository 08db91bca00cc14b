"""The held-out months as traffic: what is asked, what its truth is, and where the store begins."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import monitor
import numpy as np
import pandas as pd
import pytest
import requested
import store
import traffic
from predictor import Predictor

from shared import params

META = {"frequency": "MS", "season_length": 12, "timezone": "UTC", "negative": False}


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two monthly series of 36 months, the last four held out, one of them without a value."""
    monkeypatch.chdir(tmp_path)
    times, parts = pd.date_range("2020-01-01", periods=36, freq="MS"), []
    for i, name in enumerate(("a", "b")):
        part = pd.DataFrame({"series_id": name, "timestamp": times})
        part["value"] = 100.0 * (i + 1) + np.arange(36)
        part["filled"] = np.arange(36) == 33
        parts.append(part.assign(split=["train"] * 32 + ["test"] * 4))
    Path("data/prepared").mkdir(parents=True)
    pd.concat(parts).to_parquet("data/prepared/series.parquet")
    params.write_json(Path("data/prepared/meta.json"), {"covariates": []})
    return tmp_path


def asked(shift: str, number: int, seed: int = 0) -> list[Any]:
    return list(itertools.islice(traffic.items(shift, seed), number))


def test_every_series_is_asked_for_once_in_each_round(prepared: Path) -> None:
    found = [item.body["series_id"] for item in asked("none", 40)]
    assert all(set(found[i : i + 2]) == {"a", "b"} for i in range(0, 40, 2))
    assert found == [item.body["series_id"] for item in asked("higher", 40)]
    assert found != [item.body["series_id"] for item in asked("none", 40, seed=1)]
    assert found[:2] == [item.body["series_id"] for item in traffic.items("none", 0, once=True)]


def test_the_truth_is_by_month_and_a_third_higher_when_demand_is(prepared: Path) -> None:
    usual, higher = (
        {item.body["series_id"]: item.truth for item in asked(shift, 2)}
        for shift in ("none", "higher")
    )
    months = [f"2022-{month}-01T00:00:00" for month in ("09", "11", "12")]
    assert usual["a"] == dict(zip(months, [132.0, 134.0, 135.0], strict=True)), "October is missing"
    for name in ("a", "b"):
        assert {month: value * 4 / 3 for month, value in usual[name].items()} == higher[name]


@pytest.mark.parametrize("shift", ["none", "new"])
def test_a_model_with_covariates_is_told_those_of_the_held_out_months(
    prepared: Path, shift: str
) -> None:
    table = pd.read_parquet("data/prepared/series.parquet")
    table.assign(price=np.arange(72.0)).to_parquet("data/prepared/series.parquet")
    params.write_json(Path("data/prepared/meta.json"), {"covariates": ["price"]})
    found = [item.body for item in asked(shift, 2)]
    prices = sorted(body["covariates"]["price"] for body in found)
    assert prices == [[32.0, 33.0, 34.0, 35.0], [68.0, 69.0, 70.0, 71.0]]
    assert {body["horizon"] for body in found} == {4}


def test_a_stranger_has_a_history_that_the_service_takes_and_its_own_size(prepared: Path) -> None:
    sizes = []
    for item in asked("new", 6):
        assert set(item.body) == {"history"}
        question = requested.Question(**item.body)
        assert question.history is not None
        times, values = requested.history(question.history, META, 100)
        assert len(values) == 32 and str(times[-1]) == "2022-08-01 00:00:00"
        assert item.truth["2022-09-01T00:00:00"] == pytest.approx(
            values[-1] + (values[1] - values[0])
        )
        sizes.append(values[0])
    assert len(set(sizes)) == 6


@pytest.mark.pipeline
def test_a_rewound_store_knows_nothing_of_the_held_out_months(
    tourism: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data", "export"):
        shutil.copytree(tourism / name, tmp_path / name)
    shutil.copytree(tourism / "export", tmp_path / "served")
    monkeypatch.chdir(tmp_path)
    predictor = Predictor("served")
    names = predictor.meta["series"]
    online = store.reading(Path("served/store"))
    assert set(predictor.new_values(store.newest(online, names))) == {24}
    assert traffic.rewind(Path("served")) == len(names)
    assert traffic.rewind(Path("served")) == len(names), "again: the same"
    rows = store.newest(online, names)
    assert set(predictor.new_values(rows)) == {0}
    answers = predictor.forecast(predictor.known(rows), 24, [80.0])
    truths = {item.body["series_id"]: item.truth for item in asked("none", len(names))}
    for row, answer in zip(rows, answers, strict=True):
        asked_of = {"truth": truths[row["series_id"]], "timestamps": answer.timestamps}
        assert monitor.arrived(asked_of)[0] == list(range(24))


def test_the_store_of_another_model_than_the_pipelines_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params.write_json("export/model.json", {"series": ["a"], "ends": ["2020-01-01T00:00:00"]})
    params.write_json("served/model.json", {"series": ["a"], "ends": ["2021-01-01T00:00:00"]})
    assert traffic.rewind(Path("served")) == 0
