"""A model learns from the steps that have come, and serves if it is better on the newest."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import retrain
import store
import traffic
from predictor import Predictor

from shared import audit, joining, lineage, params
from shared.requestlog import RequestLog
from shared.workspace import environment
from timeseries.tourism import ENVIRONMENT, World

TIMES = pd.date_range("2020-01-01", periods=8, freq="MS")


def row(name: str | None, truth: Any, **changes: Any) -> dict[str, Any]:
    """A forecast of 10 for the last four of eight months."""
    found = {"model": "v1", "series_id": name, "timestamps": [t.isoformat() for t in TIMES[4:]]}
    found |= {"mean": [10.0] * 4, "scale": 2.0, "covariates": None, "truth": truth}
    return found | changes


def test_the_newest_forecast_of_each_series_by_the_served_model_counts() -> None:
    rows = [row("a", [1.0]), row("a", [2.0]), row("b", []), row("c", [1.0], model="v0")]
    rows += [row(None, [1.0]), row("d", {"2031-01-01T00:00:00": 1.0})]
    assert [one["truth"] for one in retrain.usable(rows, "v1")] == [[2.0]]


def models(folder: Path, ends: dict[str, pd.Timestamp], forecasts: dict[str, list[float]]) -> None:
    """What `train` writes: forecasts of four steps from the end of training."""
    meta = {"series": list(ends), "ends": [str(end)[:19] for end in ends.values()]}
    meta |= {"choices": ["theta"] * len(ends), "frequency": "MS", "horizon": 4}
    params.write_json(folder / "models/model.json", meta)
    table = pd.DataFrame({"theta": np.concatenate(list(forecasts.values()))})
    table.insert(0, "step", np.tile(np.arange(1, 5), len(ends)))
    table.insert(0, "series_id", np.repeat(list(ends), 4))
    table["seasonal_naive"] = 0.0
    table.to_parquet(folder / "models/forecasts.parquet")


def test_models_are_compared_on_the_months_that_neither_has_learnt(tmp_path: Path) -> None:
    """The challenger has learnt the first two months that came: only the others count."""
    ends = {"a": TIMES[5], "b": TIMES[3]}
    models(tmp_path, ends, {"a": [20.0, 22.0, 9, 9], "b": [10.0, 11.0, 12.0, 13.0]})
    rows = [row("a", [99.0, 99.0, 20.0, 20.0]), row("b", [10.0, 10.0])]
    rows += [row("left out", [1.0]), row("a", [1.0, 1.0]), row("a", [1.0] * 4, scale=0.0)]
    ours, theirs = retrain.losses(rows, tmp_path)
    assert ours.tolist() == [0.5, 0.25], "(0 + 2) / 2 / 2 and (0 + 1) / 2 / 2"
    assert theirs.tolist() == [5.0, 0.0]


def test_a_model_that_ends_before_what_the_champion_knew_is_not_compared(tmp_path: Path) -> None:
    models(tmp_path, {"a": TIMES[2], "b": TIMES[3]}, {"a": [10.0] * 4, "b": [10.0] * 4})
    ours, _ = retrain.losses([row("a", [11.0] * 4), row("b", [12.0] * 4)], tmp_path)
    assert ours.tolist() == [1.0], "b alone"


@pytest.mark.parametrize(
    ("truths", "wanted"), [([4, 4], 2), ([3, 3], 1), ([4, 1, 2], 1), ([{7: 1.0}], 2)]
)
def test_at_most_half_of_what_has_come_is_held_out(truths: list[Any], wanted: int) -> None:
    """So the challenger has learnt the other half, and knows more than the champion did."""
    told = [
        {TIMES[i].isoformat(): value for i, value in truth.items()}
        if isinstance(truth, dict)
        else [1.0] * truth
        for truth in truths
    ]
    rows = [row("a", truth) for truth in told]
    assert retrain.tested(rows, retrain.RetrainParams(rows=9, held_out=12)) == wanted
    assert retrain.tested(rows, retrain.RetrainParams(rows=9, held_out=1)) == 1


@pytest.mark.parametrize("gaps", ["zero", "previous"])
def test_steps_whose_truth_has_not_come_are_no_zeros(
    gaps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(f"prepare: {{gaps: {gaps}}}\n")
    params.write_json("export/model.json", {"chosen": "theta"})
    found = retrain.changes(tmp_path / "live", 2)
    assert found["prepare.held_out"] == 2 and found["train.candidates"] == ["theta"]
    assert found.get("prepare.gaps") == {"zero": "interpolate"}.get(gaps)


def test_a_single_step_cannot_be_learnt_and_compared_on() -> None:
    with pytest.raises(SystemExit, match="refused: 1 step has come to the median series"):
        retrain.tested([row("a", [1.0])] * 2, retrain.RetrainParams(rows=9, held_out=12))


@pytest.fixture(scope="module")
def after(tourism: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A folder whose demand went up a third, retrained; and what its service knew before."""
    folder = tmp_path_factory.mktemp("retrained") / "app"
    shutil.copytree(tourism, folder, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        world = World(folder)
        logs = {name: RequestLog("logs", name, 100, 9) for name in ("requests", "feedback")}
        for number, one in enumerate(itertools.islice(world.rows("higher", 0), 80)):
            assert logs["feedback"].write({"id": str(number), "truth": one.pop("truth")})
            assert logs["requests"].write({"id": str(number), **one})
        joining.Joined(world.live / "monitor.db").read(Path("logs"))
    before = pd.read_parquet(folder / "data/prepared/series.parquet")
    command = [sys.executable, "retrain.py", "--key-result", "KR3"]
    own = environment() | ENVIRONMENT | {"BENTOML_HOME": str(folder / "bentoml")}
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder, before


@pytest.mark.pipeline
def test_a_shift_is_learnt_and_the_better_model_is_deployed(
    after: tuple[Path, pd.DataFrame],
) -> None:
    folder, _ = after
    lines = audit.read(folder / "live")
    events = ["data_appended", "reproduced", "challenger", "compared", "promoted"]
    assert [line["event"] for line in lines] == events
    assert lines[3]["better"] and lines[3]["gain"] > 1
    assert lineage.current(folder / "live") == lines[2]["version"] != lines[2]["champion"]


@pytest.mark.pipeline
def test_the_grown_table_has_what_came_and_its_end_is_not_learnt(
    after: tuple[Path, pd.DataFrame],
) -> None:
    folder, before = after
    table = pd.read_parquet(folder / "live/data/series.parquet").set_index(retrain.KEY)["value"]
    old = before.set_index(retrain.KEY)
    assert len(table) == len(old), "every series was asked for, and all its months came"
    wanted = old["value"].where(old["split"] == "train", old["value"] * traffic.HIGHER)
    pd.testing.assert_series_equal(table.sort_index(), wanted.sort_index(), check_names=False)
    held_out = params.load_yaml(folder / "params.yaml")["retrain"]["held_out"]
    split = pd.read_parquet(folder / "live/work/data/prepared/series.parquet")
    tested = split[split["split"] == "test"].groupby("series_id").size()
    assert set(tested) == {held_out}


@pytest.mark.pipeline
def test_the_new_model_answers_by_id_from_the_newest_value(
    after: tuple[Path, pd.DataFrame],
) -> None:
    folder, before = after
    served = lineage.serving(folder / "live")
    predictor = Predictor(served)
    rows = store.newest(store.reading(served / "store"), predictor.meta["series"])
    assert {str(one["last"]) for one in rows} == {str(before["timestamp"].max())}
    answer = predictor.forecast(predictor.known(rows), 24, [80.0])[0]
    assert answer.timestamps[0] == "2010-01-01T00:00:00"
    former = json.loads((folder / "export/model.json").read_text())
    names = ["frequency", "season_length", "timezone", "horizon", "levels", "covariates"]
    assert all(predictor.meta[name] == former[name] for name in names), "clients notice nothing"


def test_nothing_to_learn_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params.write_json("data/raw/meta.json", {"covariates": []})
    (tmp_path / "live").mkdir()
    (tmp_path / "live/current").write_text("v1\n")
    config = retrain.RetrainParams(rows=100, held_out=2)
    with pytest.raises(SystemExit, match="refused: no truth has come"):
        retrain.collect(tmp_path / "live", config)
