"""Forecasts from exported files alone: known series, new values, histories, hostile questions."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import features
import lightgbm
import model
import numpy as np
import pandas as pd
import pytest
from predictor import BadInput, Known, Predictor
from safetensors.numpy import save_file
from trees import to_onnx

M, HORIZON, LENGTH = 4, 6, 40
PATTERN = np.tile([10.0, 30, 20, 40], 20)
LAST = pd.Timestamp("2024-02-09")


def values_of(i: int, length: int) -> np.ndarray:
    noise = np.random.default_rng(i).lognormal(0, 0.05, 80)
    return ((10**i) * PATTERN * noise)[:length]


def exported(folder: Path, **changes: Any) -> Predictor:
    """Three series of sizes 1, 10, 100 with states of all candidates and a global model."""
    states: dict[str, list[np.ndarray]] = {}
    for i in range(3):
        for name in model.CLASSICAL:
            for key, part in model.fit(name, values_of(i, LENGTH), M, HORIZON)[1].items():
                states.setdefault(f"{name}.{key}", []).append(part)
    save_file(
        {key: np.concatenate(parts) for key, parts in states.items()},
        folder / "states.safetensors",
    )
    dates, covariates = changes.get("calendar", ()), changes.get("covariates", [])
    columns = len(features.column_names(M, tuple(dates), tuple(covariates)))
    rows = np.random.default_rng(0).normal(0, 1, (400, columns))
    target = 0.2 * (rows[:, -1] > 0) if covariates else np.zeros(400) + 0.01 * rows[:, 0]
    settings = {"verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows, target), 30)
    to_onnx(booster, columns, folder / "global.onnx")
    meta = {
        "series": ["a", "b", "c"],
        "choices": ["combination", "theta", "global"],
        "ends": [LAST.isoformat()] * 3,
        "combined": ["seasonal_naive", "holt_winters", "theta", "global"],
        "usual_choice": "combination",
        "global_model": True,
        "usual_parameters": {
            "holt_winters": {"alpha": 0.2, "beta": 0.01, "gamma": 0.1, "phi": 0.98},
            "theta": {"alpha": 0.2},
        },
        "season_length": M,
        "horizon": HORIZON,
        "frequency": "D",
        "calendar": [],
        "covariates": [],
        "negative": False,
        "levels": [80.0, 95.0],
        "quantiles": {
            "80": [[-1.0] * HORIZON, [1.0] * HORIZON],
            "95": [[-2.0] * HORIZON, [2.5] * HORIZON],
        },
    }
    (folder / "model.json").write_text(json.dumps(meta | changes))
    return Predictor(folder)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return exported(tmp_path_factory.mktemp("export"))


def row(i: int, length: int) -> dict[str, Any]:
    recent = features.origins(values_of(i, length), M, np.array([length]))["recent"][0]
    last = LAST + pd.Timedelta(days=length - LENGTH)
    return {"series_id": "abc"[i], "recent": recent, "observations": length, "last": last}


def test_a_model_without_a_file_that_it_needs_is_none(tmp_path: Path) -> None:
    exported(tmp_path)
    (tmp_path / "global.onnx").unlink()
    with pytest.raises(Exception, match=r"global\.onnx"):
        Predictor(tmp_path)


def test_a_known_series_goes_on_where_it_ends(predictor: Predictor) -> None:
    known = predictor.known([row(0, LENGTH), row(2, LENGTH)])
    first, second = predictor.forecast(known, HORIZON, [80.0, 95.0])
    assert first.timestamps[0] == "2024-02-10T00:00:00" and len(first.mean) == HORIZON
    assert (first.model, second.model) == ("combination", "global")
    np.testing.assert_allclose(first.mean, PATTERN[LENGTH : LENGTH + HORIZON], rtol=0.15)
    np.testing.assert_allclose(second.mean, 100 * PATTERN[LENGTH : LENGTH + HORIZON], rtol=0.15)
    low, high = first.intervals["80"]
    lower, higher = first.intervals["95"]
    for inner, outer in ((lower, low), (low, first.mean), (first.mean, high), (high, higher)):
        assert (inner <= outer).all()


@pytest.mark.parametrize("new", [1, 3, 30])
def test_new_values_are_taken_in_by_every_model(predictor: Predictor, new: int) -> None:
    """Also more than the recent past holds: then from its oldest value on."""
    known = predictor.known([row(0, LENGTH + new)])
    (found,) = predictor.forecast(known, HORIZON, [80.0])
    wanted = PATTERN[LENGTH + new : LENGTH + new + HORIZON]
    np.testing.assert_allclose(found.mean, wanted, rtol=0.2)
    assert found.timestamps[0] == (LAST + pd.Timedelta(days=new + 1)).isoformat()


def test_series_at_different_moments_are_forecast_at_once_as_alone(predictor: Predictor) -> None:
    rows = [row(0, LENGTH + 5), row(1, LENGTH), row(2, LENGTH + 2)]
    together = predictor.forecast(predictor.known(rows), 4, [80.0])
    for one, found in zip(rows, together, strict=True):
        (alone,) = predictor.forecast(predictor.known([one]), 4, [80.0])
        np.testing.assert_allclose(found.mean, alone.mean)
        assert found.timestamps == alone.timestamps


def test_features_older_than_the_model_are_refused(predictor: Predictor) -> None:
    with pytest.raises(BadInput, match="older than the model") as refused:
        predictor.known([row(1, LENGTH - 1)])
    assert refused.value.status == 503


def test_new_values_are_counted_by_time_when_the_table_lost_its_beginning(
    predictor: Predictor,
) -> None:
    whole = row(0, LENGTH + 3)
    (wanted,) = predictor.forecast(predictor.known([whole]), 4, [80.0])
    rolled = whole | {"observations": LENGTH - 5}
    known = predictor.known([rolled])
    for name, state in predictor.known([whole]).states.items():
        for key, values in state.items():
            np.testing.assert_array_equal(known.states[name][key], values)
    assert wanted.timestamps == predictor.forecast(known, 4, [80.0])[0].timestamps


@pytest.mark.parametrize("values", [np.zeros(30), np.r_[values_of(1, 14), np.full(16, 7.0)]])
def test_every_candidate_forecasts_what_has_stopped_moving_to_stay(
    predictor: Predictor, values: np.ndarray
) -> None:
    known = predictor.of_history(values, LAST)
    candidates = predictor.candidates(known, 4, None)
    assert set(candidates) == set(model.NAMES)
    for name, means in candidates.items():
        assert means.tolist() == [[values[-1]] * 4], name
    (found,) = predictor.forecast(known, 4, [80.0])
    assert found.mean.tolist() == [values[-1]] * 4
    assert values.any() or found.intervals["80"][0].tolist() == [0] * 4


def test_a_history_is_forecast_near_the_series_itself(predictor: Predictor) -> None:
    (known,) = predictor.forecast(predictor.known([row(0, LENGTH)]), HORIZON, [80.0])
    given = predictor.of_history(values_of(0, LENGTH), LAST)
    (found,) = predictor.forecast(given, HORIZON, [80.0])
    np.testing.assert_allclose(found.mean, known.mean, rtol=0.1)
    assert found.timestamps == known.timestamps


@pytest.mark.parametrize(
    "values", [np.zeros(30), np.full(30, 5.0), np.r_[np.zeros(29), 3.0], np.arange(8.0)]
)
def test_flat_sparse_and_short_histories_have_finite_answers(
    predictor: Predictor, values: np.ndarray
) -> None:
    (found,) = predictor.forecast(predictor.of_history(values, LAST), HORIZON, [80.0])
    assert np.isfinite(found.mean).all() and (found.mean >= 0).all()
    low, high = found.intervals["80"]
    assert (low >= 0).all() and (low <= found.mean).all() and (found.mean <= high).all()


def test_a_model_that_cannot_forecast_gives_way_to_last_season(predictor: Predictor) -> None:
    known = predictor.known([row(1, LENGTH)])
    broken = {key: np.full_like(part, np.nan) for key, part in known.states["theta"].items()}
    known = Known(
        known.chosen, known.recent, known.observations, known.last, known.states | {"theta": broken}
    )
    (found,) = predictor.forecast(known, HORIZON, [80.0])
    season = values_of(1, LENGTH)[-M:]
    np.testing.assert_allclose(found.mean, np.resize(season, HORIZON))
    assert np.isfinite(predictor.candidates(known, HORIZON, None)["combination"]).all()


def test_covariates_and_the_calendar_reach_the_global_model(tmp_path: Path) -> None:
    names: dict[str, Any] = {"calendar": ["month", "weekday", "hour"], "covariates": ["holiday"]}
    predictor = exported(tmp_path, **names, usual_choice="global")
    known = predictor.of_history(values_of(0, LENGTH), LAST)
    off, on = (
        predictor.forecast(known, HORIZON, [80.0], np.full((1, HORIZON, 1), value))[0].mean
        for value in (-1.0, 1.0)
    )
    assert (on > off * 1.1).all()


def test_negative_series_may_have_negative_forecasts(tmp_path: Path) -> None:
    predictor = exported(tmp_path, negative=True)
    values = values_of(0, LENGTH) - 100
    (found,) = predictor.forecast(predictor.of_history(values, LAST), HORIZON, [80.0])
    assert (found.mean < 0).all() and (found.intervals["80"][0] < found.mean).all()


def test_an_answer_has_offsets_where_the_question_has_them(predictor: Predictor) -> None:
    values, zone = values_of(0, LENGTH), ZoneInfo("Europe/Berlin")
    for last, wanted in (
        (datetime(2024, 3, 29), ["2024-03-30T00:00:00", "2024-03-31T00:00:00"]),
        (
            datetime(2024, 3, 30, tzinfo=zone),
            ["2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00"],
        ),
    ):
        (found,) = predictor.forecast(predictor.of_history(values, last), 2, [80.0])
        assert found.timestamps == wanted
