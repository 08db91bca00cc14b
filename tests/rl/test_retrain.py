"""What is learnt from a log: the newest history that there is, its last days for the comparison."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import backtest
import numpy as np
import pandas as pd
import pytest
import retrain
from ingest import IngestParams
from predictor import Predictor
from prepare import PrepareParams, splits

from rl import markets, policies, stages
from shared import audit, joining, objectives, params, requestlog, retraining

DAY = pd.Timedelta(days=1)
BEGIN = pd.Timestamp("2024-01-01")
RAW = {"source": "prices.csv", "point": "", "signals": [], "timezone": "Europe/Berlin"}
SOURCE = IngestParams.model_validate(RAW | {"limit": None})


def config(**changes: Any) -> retrain.RetrainParams:
    given = params.load_yaml(stages.BLUEPRINT / "params.yaml")["retrain"]
    return retrain.RetrainParams.model_validate(given | changes)


def rows(begin: str, number: int, price: float = 50.0, **more: Any) -> list[dict[str, Any]]:
    start = datetime.fromisoformat(begin)
    hours = ((start + timedelta(hours=i)).isoformat() for i in range(number))
    return [{"timestamp": hour, "truth": price + i} | more for i, hour in enumerate(hours)]


def test_the_newest_row_of_a_step_counts_and_order_of_arrival_does_not() -> None:
    given = rows("2024-02-01T00:00+00:00", 48)
    given += rows("2024-02-02T10:00+00:00", 20, price=7.0)
    mixed = given[:40] + given[40:48][::-1] + given[48:]
    found = retrain.observed(mixed, BEGIN, 24)
    assert len(found) == 34 + 20 and found["timestamp"].is_monotonic_increasing
    assert found["price"].tolist() == [*(50.0 + np.arange(34)), *(7.0 + np.arange(20))]


def test_a_replay_that_began_anew_knows_nothing_of_what_came_later_before() -> None:
    given = rows("2024-02-01T00:00+00:00", 1000) + rows("2024-02-01T00:00+00:00", 300, price=500.0)
    found = retrain.observed(given, BEGIN, 24)
    assert len(found) == 300 and found["price"].min() == 500


@pytest.mark.parametrize(("begin", "second"), [("2024-01-01", 0), ("2024-01-01T00:30", 1800)])
def test_a_moment_belongs_to_its_step_of_the_history_s_grid(begin: str, second: int) -> None:
    late = [{"timestamp": "2024-02-01T06:59:30+01:00", "truth": 3.0}]
    found = retrain.observed(late, pd.Timestamp(begin), 24)
    (moment,) = found["timestamp"]
    assert moment == pd.Timestamp("2024-02-01T05:00") + pd.Timedelta(seconds=second)


def test_signals_stay_beside_their_prices() -> None:
    given = rows("2024-02-01T00:00+00:00", 3, signals={"load": 2.0})
    found = retrain.observed([*given[1:], given[0]], BEGIN, 24)
    assert found.columns.tolist() == ["timestamp", "price", "load"]
    old = pd.DataFrame({"timestamp": [BEGIN], "price": 1.0, "load": 9.0})
    assert retrain.together(old, found)["load"].tolist() == [9, 2, 2, 2]


def test_what_was_known_before_the_first_new_step_stays() -> None:
    old = pd.DataFrame({"timestamp": BEGIN + DAY * np.arange(60), "price": 1.0})
    new = retrain.observed(rows("2024-01-31T00:00+00:00", 24 * 7), BEGIN, 24)
    found = retrain.together(old, new)
    assert (found["price"] == 1).sum() == 30 and len(found) == 30 + 168
    assert found["timestamp"].iloc[-1] == new["timestamp"].iloc[-1].tz_localize("UTC")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A blueprint's folder after `ingest`, hourly prices of 100 days, and a DVC project."""
    monkeypatch.chdir(tmp_path)
    for name in (audit.FOLDER, audit.KEY_RESULT, audit.INCIDENT, audit.SERVICE):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["dvc", "init", "--no-scm", "-q"], check=True)
    table = pd.DataFrame({"timestamp": pd.date_range(BEGIN, periods=2400, freq="h"), "price": 20.0})
    table["problem"] = np.where(np.arange(2400) == 7, "price: is no number", "")
    (tmp_path / "data/raw").mkdir(parents=True)
    table.to_parquet("data/raw/prices.parquet")
    params.write_json("data/raw/meta.json", {"day": 24})
    return tmp_path


def arrived(folder: Path, given: list[dict[str, Any]]) -> None:
    """Requests and their prices in the monitor's store."""
    joined, known = joining.Joined(folder / "live/monitor.db"), (folder / "logs").exists()
    begin = len(list(requestlog.read(folder / "logs", "requests"))) if known else 0
    logs = [requestlog.RequestLog(folder / "logs", name, 9, 9) for name in ("requests", "feedback")]
    for i, row in enumerate(given, begin):
        logs[0].write({"id": f"{i}", "model": "m", "timestamp": row["timestamp"]})
        logs[1].write({"id": f"{i}", "truth": row["truth"]})
    joined.read(folder / "logs")


def test_data_grow_and_no_hour_goes_from_test_into_what_the_champion_learnt(folder: Path) -> None:
    """Two retrainings, 60 days apart: a split changes only from test to another one."""
    live, parts, cuts = folder / "live", [], []
    for begin in ("2024-04-10T00:00+00:00", "2024-06-09T00:00+00:00"):
        arrived(folder, rows(begin, 60 * 24))
        table = retrain.collect(live, config(rows=1440), SOURCE)
        again = retrain.history(SOURCE, live / "data")
        assert again["timestamp"].tolist() == table["timestamp"].dt.tz_localize(None).tolist()
        newest = table["timestamp"].iloc[-1].tz_convert("Europe/Berlin")
        cuts.append(retrain.changes(live, config(), newest)["prepare.test_from"])
        given = {"gaps": "day_before", "test_from": cuts[-1], "test_share": 0.2, "seed": 0}
        given |= {"validation_every": 4, "block_days": 7, "random_steps": 1000}
        times = pd.DatetimeIndex(table["timestamp"]).tz_convert("Europe/Berlin")
        parts.append(pd.Series(splits(times, 24, PrepareParams(**given)), times))
    first, second = parts
    assert cuts == ["2024-05-05", "2024-07-04"] and len(second) - len(first) == 1440
    changed = first[first != second[first.index]]
    assert set(changed) == {"test"} and len(changed) == (first == "test").sum()
    assert 35 <= (second == "test").sum() / 24 < 36
    lines = [line for line in audit.read(live) if line["event"] == "data_appended"]
    assert [line["rows"] for line in lines] == [1440, 1440]
    assert lines[0]["data"] != lines[1]["data"], "DVC knows both"
    assert (live / "data.dvc").exists()


def test_too_few_prices_are_refused_and_change_nothing(folder: Path) -> None:
    with pytest.raises(retraining.Refused, match="the prices of 0 days have come"):
        retrain.collect(folder / "live", config(), SOURCE)
    arrived(folder, rows("2024-04-10T00:00+00:00", 41 * 24))
    with pytest.raises(retraining.Refused, match="of 41 days have come; needed: 35 to compare"):
        retrain.collect(folder / "live", config(), SOURCE)
    assert not (folder / "live/data").exists()
    params.write_json("data/raw/meta.json", {"env": "CartPole-v1"})
    with pytest.raises(retraining.Refused, match="without prices"):
        retrain.collect(folder / "live", config(), SOURCE)


def test_a_comparison_has_enough_days() -> None:
    with pytest.raises(ValueError, match="greater than 30"):
        config(test_days=30)


def test_parameters_of_a_retraining_are_there(tmp_path: Path) -> None:
    shutil.copy(stages.BLUEPRINT / "params.yaml", tmp_path)
    newest = pd.Timestamp("2024-06-01T01:00", tz="America/Chicago")
    retraining.configure(tmp_path, retrain.changes(tmp_path, config(), newest))
    found = params.load_yaml(tmp_path / "params.yaml")
    assert found["prepare"]["test_from"] == "2024-04-27" and found["train"]["seeds"] == [0]
    assert found["ingest"]["source"] == str(tmp_path / "data/prices.csv")
    PrepareParams.model_validate(found["prepare"])


def test_the_gate_of_a_retraining_leaves_out_what_was_set_for_a_year(tmp_path: Path) -> None:
    shutil.copy(stages.BLUEPRINT / "objectives.yaml", tmp_path)
    whole, names = objectives.load(tmp_path / "objectives.yaml"), set(config().gate_without)
    retraining.ease(tmp_path, config().gate_without)
    eased = objectives.load(tmp_path / "objectives.yaml")
    assert names <= {result.id for result in whole.release}
    assert [one for one in whole.key_results if one.id not in names] == eased.key_results
    kept = {result.metric for result in eased.release}
    assert {"test.violations_worst", "export.onnx.decision_agreement"} <= kept


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    env, market = policies.environment()
    folder = tmp_path_factory.mktemp("export")
    policies.exported(folder, env, market, policies.config())
    yield Predictor(folder)


def test_a_loss_is_what_a_day_of_the_test_did_not_earn(policy: Predictor, tmp_path: Path) -> None:
    prices, first = markets.prices(20), 10 * 24
    times = pd.date_range(BEGIN, periods=len(prices), freq="h")
    split = np.where(np.arange(len(prices)) < first, "train", "test")
    (tmp_path / "data/prepared").mkdir(parents=True)
    table = pd.DataFrame({"timestamp": times, "price": prices, "split": split})
    table[:-5].to_parquet(tmp_path / "data/prepared/market.parquet")
    found = retrain.losses(policy, tmp_path)
    assert len(found) == 9, "the last day is not whole"
    start = times[first - 167].tz_localize("UTC").to_pydatetime()
    earned = [step[2] for step in backtest.run(policy, prices[first - 167 :], start)]
    assert len(earned) == 240 and -found.sum() == pytest.approx(sum(earned[:216]))
    assert found[0] == pytest.approx(-sum(earned[:24]))
    assert not (found == found[0]).all()
