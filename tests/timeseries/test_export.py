"""The stages from `prepare` to `export` in one process, on daily series with all that is awkward.

Gaps, an outlier, a series that began late, a step of the test that nobody has a value for, a test
shorter than the horizon, dates and a covariate, and a training stopped after its first fold.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluate
import export
import numpy as np
import pandas as pd
import predictor
import prepare
import pytest
import store
import train
import yaml
from safetensors.numpy import load_file

from shared import params

LENGTHS = {"early": 70, "gappy": 70, "late": 45, "sparse": 70}
HORIZON, TESTED, M = 5, 4, 7
BLUEPRINT = Path(export.__file__).parent


def checked() -> pd.DataFrame:
    generator, parts = np.random.default_rng(0), []
    for i, (name, length) in enumerate(LENGTHS.items()):
        price = generator.uniform(1, 3, length)
        pattern = np.tile([10.0, 12, 11, 14, 20, 30, 5], 20)[-length:]
        values = (10**i) * pattern * (3 - 0.5 * price) * generator.lognormal(0, 0.1, length)
        days = pd.date_range(end="2024-06-30", periods=length, freq="D")
        part = pd.DataFrame({"timestamp": days, "value": values, "price": price})
        part.insert(0, "series_id", name)
        if name == "sparse":
            part["value"] = np.where(np.arange(length) % 5 == 0, part["value"], 0)
        gaps = {"gappy": [20, 21, 64]}.get(name, [])
        parts.append(part.drop(index=[*gaps, length - 2]))
    parts[0].loc[30, "value"] = 1e6
    return pd.concat(parts, ignore_index=True)


def parameters() -> dict[str, Any]:
    given = yaml.safe_load((BLUEPRINT / "params.yaml").read_text())
    given["prepare"] |= {"horizon": HORIZON, "held_out": TESTED}
    given["prepare"] |= {"outliers": "replace", "calendar": ["weekday"]}
    given["train"] |= {"jobs": 1, "trees": 5, "min_rows_per_leaf": 5, "folds": 2}
    given["evaluate"] |= {"peer": False, "series_shown": 2}
    given["export"]["latency_series"] = 1
    return dict(given)


def stopped_and_begun_again(patch: pytest.MonkeyPatch) -> list[int]:
    """How far back the folds look that are computed after a stop in the second one."""
    fold, computed = train.fold, []

    def noted(*given: Any) -> Any:
        computed.append(given[2])
        if len(computed) == 2:
            raise KeyboardInterrupt
        return fold(*given)

    patch.setattr(train, "fold", noted)
    with pytest.raises(KeyboardInterrupt):
        train.main()
    train.main()
    patch.setattr(train, "fold", fold)
    return computed


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(params, "stage", params.read)  # twice in one process: no lock
        patch.setattr(train.tracking, "start", lambda name: None)
        (folder / "params.yaml").write_text(yaml.safe_dump(parameters()))
        shutil.copy(BLUEPRINT / "objectives.yaml", folder)
        meta = {"frequency": "D", "season_length": M, "covariates": ["price"]}
        params.write_json("data/raw/meta.json", meta)
        checked().to_parquet("data/checked.parquet", index=False)
        prepare.main()
        train.main()
        undisturbed = {path.name: path.read_bytes() for path in Path("models").iterdir()}
        computed = stopped_and_begun_again(patch)
        evaluate.main()
        export.main()
        exported = contents(folder)
        export.main()
        yield {
            "folder": folder,
            "undisturbed": undisturbed,
            "computed": computed,
            "exported": exported,
        }


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for path in (folder / "export").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_an_export_that_is_repeated_makes_the_same_files(chain: dict[str, Any]) -> None:
    assert "export/store/registry.db" in chain["exported"]
    assert contents(chain["folder"]) == chain["exported"]


def read(chain: dict[str, Any], name: str) -> Any:
    return json.loads((chain["folder"] / name).read_text())


def test_a_stopped_training_goes_on_and_ends_as_an_undisturbed_one(chain: dict[str, Any]) -> None:
    assert chain["computed"] == [12, 5, 5, 0], "the older fold only once, the final fit at last"
    models = chain["folder"] / "models"
    assert {path.name: path.read_bytes() for path in models.iterdir()} == chain["undisturbed"]
    assert not list((chain["folder"] / "checkpoint").glob("*"))


def test_an_outlier_is_gone_from_what_is_learnt_and_marked(chain: dict[str, Any]) -> None:
    table = pd.read_parquet(chain["folder"] / "data/prepared/series.parquet")
    early = table[table["series_id"] == "early"].reset_index(drop=True)
    assert early["filled"][30] and early["value"].max() < 100
    assert early["filled"].sum() == 2, "the outlier and the missing step of the test"
    assert table.groupby("series_id").size().to_dict() == LENGTHS


def test_exported_candidates_forecast_what_their_libraries_forecast(chain: dict[str, Any]) -> None:
    found = read(chain, "export.json")
    for name in parameters()["train"]["candidates"]:
        assert found[name]["decision_agreement"] == 1, name
        assert found[name]["max_abs_diff"] < 1e-6, name
    assert found["all"]["latency_p50_ms"] > 0 and found["all"]["size_mb"] > 0


def test_a_step_of_the_test_without_any_value_has_no_score(chain: dict[str, Any]) -> None:
    found = read(chain, "metrics.json")
    assert [row["mase"] is None for row in found["horizon"]] == [False, False, True, False, True]
    assert found["test"]["series"] == 4 and 0 < found["test"]["mase"] < 2
    assert found["baseline"]["mase_gain"] == pytest.approx(
        1 - found["test"]["mase"] / found["baseline"]["seasonal_naive"]["mase"], abs=1e-4
    )


def test_a_series_that_no_training_saw_gets_what_is_usual(chain: dict[str, Any]) -> None:
    meta = read(chain, "export/model.json")
    states = load_file(chain["folder"] / "models/states.safetensors")
    for name, keys in (("theta", ["alpha"]), ("holt_winters", ["alpha", "beta", "gamma", "phi"])):
        for key in keys:
            wanted = float(np.median(states[f"{name}.{key}"]))
            assert meta["usual_parameters"][name][key] == pytest.approx(wanted, abs=1e-5)
    assert meta["usual_choice"] in meta["choices"]


def test_the_exported_store_goes_on_from_the_newest_values(chain: dict[str, Any]) -> None:
    """The service's way: the online store is four steps further than the models."""
    ours = predictor.Predictor(chain["folder"] / "export")
    rows = store.newest(store.reading(chain["folder"] / "export/store"), list(LENGTHS))
    known = ours.known(rows)
    assert known.observations.tolist() == list(LENGTHS.values())
    assert {str(last) for last in known.last} == {"2024-06-30 00:00:00"}
    table = pd.read_parquet(chain["folder"] / "data/prepared/series.parquet")
    for row in rows:
        values = table[table["series_id"] == row["series_id"]]["value"].to_numpy()
        np.testing.assert_array_equal(row["recent"], values[::-1][: 4 * M])
    answers = ours.forecast(known, HORIZON, [80.0, 95.0], np.full((4, HORIZON, 1), 2.0))
    for i, answer in enumerate(answers):
        assert answer.timestamps[0] == "2024-07-01T00:00:00"
        (low, high), (lower, higher) = (answer.intervals[level] for level in ("80", "95"))
        bounds = np.stack([lower, low, answer.mean, high, higher])
        assert (np.diff(bounds, axis=0) >= 0).all() and (lower >= 0).all()
        assert answer.mean.max() < 100 * 10**i


def test_an_export_that_forecasts_otherwise_is_noticed(chain: dict[str, Any]) -> None:
    ours = predictor.Predictor(chain["folder"] / "export")
    series = export.read(ours.meta)
    known, covariates = export.at_the_end_of_training(ours, series)
    assert covariates.shape == (4, HORIZON, 1)
    known.states["theta"]["level"][2] *= 1.001
    found = export.check(ours, known, covariates)
    assert found["theta"]["decision_agreement"] == found["all"]["decision_agreement"] == 0.75
    assert found["croston"]["decision_agreement"] == 1
    known.states["theta"]["level"][2] = np.nan
    with pytest.raises(SystemExit, match="theta forecasts other series than its library"):
        export.check(ours, known, covariates)
