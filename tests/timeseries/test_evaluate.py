"""Peers and plots of the held-out part."""

from pathlib import Path

import evaluate
import features
import figures
import numpy as np
import pandas as pd
import peers
import pytest
import scoring
from dataset import Series
from evaluate import by_class
from pydantic import ValidationError


def monthly(number: int) -> list[Series]:
    generator, found = np.random.default_rng(0), []
    for i in range(number):
        values = 100 + 20 * np.sin(np.arange(72) * np.pi / 6) + generator.normal(0, 2, 72)
        times = np.datetime64("2018-01") + np.arange(72).astype("timedelta64[M]")
        none = np.zeros((72, 0))
        marks = np.zeros(72, bool)
        found.append(Series(f"S{9 - i}", times.astype("datetime64[ns]"), values, marks, none, 60))
    return found


def test_peers_forecast_the_series_in_their_order() -> None:
    series = monthly(3)
    series[1] = series[1]._replace(values=series[1].values * 50)
    found = peers.forecasts(series, 12, 12, jobs=1)
    assert set(found) == {"statsforecast_autoets", "statsforecast_autotheta"}
    for name, values in found.items():
        assert values.shape == (3, 12)
        real = np.stack([one.values[60:] for one in series])
        np.testing.assert_allclose(values, real, rtol=0.15, err_msg=name)


def test_classes_of_demand_have_scores_of_their_own() -> None:
    series = monthly(2)
    sparse = series[1].values.copy()
    sparse[np.arange(72) % 3 > 0] = 0
    series[1] = series[1]._replace(values=sparse)
    mean, one = np.zeros((2, 12)), np.ones(2)
    real = np.stack([np.full(12, 1.0), np.full(12, 3.0)])
    held = scoring.Held(mean, real, one, one, {"80": (mean - 2, mean + 2)})
    found = by_class(series, held)
    assert (found["smooth"]["series"], found["smooth"]["mase"]) == (1, 1.0)
    assert (found["intermittent"]["series"], found["intermittent"]["mase"]) == (1, 3.0)
    assert (found["smooth"]["coverage_80"], found["intermittent"]["coverage_80"]) == (1.0, 0.0)


def test_plots_have_the_same_bytes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    series, mean = monthly(2), np.full((2, 12), 100.0)
    bands = {"80": (mean - 5, mean + 5)}
    drawn = []
    for _ in range(2):
        figures.forecasts(series, [0, 1], mean, bands, 12)
        drawn.append((tmp_path / "plots/forecasts.png").read_bytes())
    assert drawn[0] == drawn[1] and len(drawn[0]) > 10_000


def test_last_season_stands_in_for_a_chosen_model_that_could_not_be_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    table = pd.DataFrame({"series_id": ["a", "a", "b", "b"], "step": [1, 2, 1, 2]})
    table["seasonal_naive"], table["theta"] = [1.0, 2, 3, 4], [np.nan, np.nan, 7, 8]
    table.to_parquet(tmp_path / "models/forecasts.parquet")
    found = evaluate.forecast({"horizon": 2, "choices": ["theta", "theta"]})
    assert found["chosen"].tolist() == [[1, 2], [7, 8]]


def test_intervals_are_in_units_of_the_history_without_the_test() -> None:
    (one,) = monthly(1)
    wild = one._replace(values=np.r_[one.values[:60], np.full(12, 1e6)])
    meta = {"season_length": 12, "levels": [80.0], "negative": False}
    meta |= {"quantiles": {"80": [[-1.0] * 12, [2.0] * 12]}}
    recent = features.origins(one.values[:60], 12, np.array([60]))["recent"]
    unit = features.scale(recent, 12)[0]
    (lower, upper) = evaluate.intervals([wild], np.full((1, 12), 500.0), meta)["80"]
    np.testing.assert_allclose(lower, 500 - unit)
    np.testing.assert_allclose(upper, 500 + 2 * unit)


def test_plots_of_no_series_cannot_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="series_shown"):
        evaluate.EvaluateParams(peer=True, series_shown=0, seed=0)
