"""Moments, what they are learnt from, and that the service sees the same rows."""

from pathlib import Path
from typing import Any

import dataset
import features
import frequency
import numpy as np
import pandas as pd
import pytest
import store
from dataset import Moments, Series
from predictor import Known, Predictor

M, HORIZON = 4, 6
META: dict[str, Any] = {"season_length": M, "horizon": HORIZON, "frequency": "MS"}
META |= {"calendar": ["month", "weekday"], "covariates": ["price", "holiday"], "negative": False}


def series(name: str, length: int, begin: str) -> Series:
    """Whose values and covariates are their own places: 100, 101, ..., and 0, 1, ... twice."""
    places = np.arange(length + HORIZON)
    times = pd.date_range(begin, periods=len(places), freq="MS").to_numpy("datetime64[ns]")
    covariates = np.column_stack([places, -places]).astype(float)
    return Series(name, times, 100.0 + places, places < 0, covariates, length)


SERIES = [
    series("a", 20, "2020-01-01"),
    series("b", 11, "2021-05-01"),
    series("c", 30, "1959-07-01"),
]
WANTED = np.array([(0, 12), (0, 20), (2, 25), (2, 9)])


def moments(wanted: np.ndarray) -> Moments:
    every = [features.origins(SERIES[i].values, M, np.array([n]))["recent"][0] for i, n in wanted]
    return Moments(wanted[:, 0], wanted[:, 1], np.stack(every), wanted[:, 1])


def test_targets_are_the_values_after_the_moment_and_end_with_training() -> None:
    values, left = dataset.targets(SERIES, moments(WANTED), HORIZON)
    np.testing.assert_array_equal(values[0], 100 + np.arange(12, 18))
    assert np.isnan(values[1]).all(), "the test part is nobody's target"
    np.testing.assert_array_equal(values[2], [*range(125, 130), np.nan])
    assert left[0].tolist() == [7, 6, 5, 4, 3, 2] and left[2].tolist() == [4, 3, 2, 1, 0, -1]


def test_dates_and_covariates_are_those_of_the_steps_to_forecast() -> None:
    rows, _ = dataset.inputs(SERIES, moments(WANTED), META)
    names = features.column_names(M, tuple(META["calendar"]), tuple(META["covariates"]))
    column = {name: rows[:, :, i] for i, name in enumerate(names)}
    assert rows.shape[2] == len(names)
    np.testing.assert_array_equal(column["price"][0], np.arange(12, 18))
    np.testing.assert_array_equal(column["holiday"][2], -np.arange(25, 31))
    np.testing.assert_array_equal(column["month"][0], np.arange(6), "January is 0")
    assert column["weekday"][0, 0] == 4, "2021-01-01 was a Friday"
    np.testing.assert_array_equal(column["month"][1], [8, 9, 10, 11, 0, 1], "the test part's dates")


@pytest.mark.parametrize("horizon", [1, HORIZON])
def test_the_service_asks_the_global_model_what_training_taught_it(horizon: int) -> None:
    """Equal rows, to the bit, with dates and covariates, for several series at once."""
    asked: list[np.ndarray] = []

    class Session:
        def run(self, _: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            asked.append(given["rows"])
            return [np.zeros((len(given["rows"]), 1), np.float32)]

    predictor = Predictor.__new__(Predictor)
    predictor.meta, predictor.season_length = META | {"combined": []}, M
    predictor.session = Session()
    taught, base = dataset.inputs(SERIES, moments(WANTED), META)
    last = [pd.Timestamp(SERIES[i].times[n - 1]) for i, n in WANTED]
    known = Known(["global"] * 4, moments(WANTED).recent, WANTED[:, 1], last, {})
    given = np.stack([SERIES[i].covariates[n : n + horizon] for i, n in WANTED])
    found = predictor.candidates(known, horizon, given)["global"]
    np.testing.assert_array_equal(asked[0].reshape(4, horizon, -1), taught[:, :horizon])
    np.testing.assert_array_equal(found, features.unsquash(base[:, :horizon]))


def test_moments_to_learn_from_are_drawn_inside_training_and_evenly() -> None:
    every = dataset.sampled(SERIES, META, 10**6, seed=0)
    assert [tuple(row) for row in every] == [
        *[(0, n) for n in range(8, 20)],
        *[(1, n) for n in range(8, 11)],
        *[(2, n) for n in range(8, 30)],
    ]
    some = dataset.sampled(SERIES, META, 9, seed=0)
    assert len(some) == len({tuple(row) for row in some}) == 9
    assert {tuple(row) for row in some} <= {tuple(row) for row in every}
    np.testing.assert_array_equal(some, dataset.sampled(SERIES, META, 9, seed=0))
    assert (some != dataset.sampled(SERIES, META, 9, seed=1)).any()


def test_series_are_read_with_their_marks_and_the_end_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/prepared").mkdir(parents=True)
    days = frequency.next_steps(pd.Timestamp("1950-01-01"), "D", 5)
    parts = []
    for name, train in (("b", 3), ("a", 4)):
        part = pd.DataFrame({"series_id": name, "timestamp": days, "value": np.arange(5.0)})
        part["filled"], part["price"] = np.arange(5) == 2, np.arange(5) * 10.0
        parts.append(part.assign(split=["train"] * train + ["test"] * (5 - train)))
    pd.concat(parts).to_parquet(tmp_path / "data/prepared/series.parquet")
    first, second = dataset.read({"covariates": ["price"]})
    assert (first.name, first.length, second.name, second.length) == ("a", 4, "b", 3)
    assert first.times[0] == np.datetime64("1950-01-02") and first.filled.tolist()[2]
    np.testing.assert_array_equal(second.covariates, np.arange(5)[:, None] * 10.0)
    assert dataset.read({"covariates": []})[0].covariates.shape == (5, 0)


@pytest.mark.parametrize(
    ("observations", "said"),
    [([12.0, np.nan], "does not know a at 2021-08-01"), ([12.0, 19.0], "from another moment")],
)
def test_a_feature_store_of_other_data_stops_the_training(
    observations: list[float], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(_: None, names: np.ndarray, times: np.ndarray) -> pd.DataFrame:
        found = pd.DataFrame({"series_id": names, "event_timestamp": times})
        return found.assign(observations=observations, recent=[np.zeros(4 * M)] * 2)

    monkeypatch.setattr(store, "opened", lambda folder: None)
    monkeypatch.setattr(store, "at", at)
    with pytest.raises(SystemExit, match=said):
        dataset.moments(SERIES, WANTED[:2], Path("nowhere"))
