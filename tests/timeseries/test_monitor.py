"""What windows of live forecasts say: drift beyond chance, errors over forecasts, silent series."""

from pathlib import Path
from typing import Any

import judged
import monitor
import numpy as np
import pandas as pd
import pytest
import yaml

from shared import objectives
from timeseries.tourism import World, copy, reproduce

MONTHS = [f"2008-{month:02d}-01T00:00:00" for month in range(1, 13)]
MODEL = {"frequency": "MS", "season_length": 12}


def answered(**changes: Any) -> dict[str, Any]:
    """A record of the request log: 100 in each of four months, from 90 to 120."""
    band = {"lower": [90.0] * 4, "upper": [120.0] * 4}
    record = {"series_id": "M1", "last_observation": "2007-12-01T00:00:00", "scale": 10.0}
    record |= {"timestamps": MONTHS[:4], "mean": [100.0] * 4, "intervals": {"80": band}}
    return record | {"change": 0.0, "spread": 0.1, "truth": [100.0] * 4} | changes


def table(path: Path, moments: int = 1000, change: float = 0.0, seed: int = 0) -> Path:
    """A feature file whose series are of any size."""
    generator = np.random.default_rng(seed)
    size = generator.lognormal(5, 3, moments)
    rows = pd.DataFrame({"series_id": np.resize([f"S{i}" for i in range(10)], moments)})
    rows["level"] = size
    rows["change"] = size * generator.normal(change, 0.1, moments)
    rows["spread"] = size * generator.normal(0.2, 0.02, moments)
    rows.to_parquet(path)
    return path


def test_the_profile_has_a_tenth_of_the_moments_in_each_bin(tmp_path: Path) -> None:
    found = monitor.reference(table(tmp_path / "features.parquet"))
    assert found["series"] == 10 and set(found["profile"]) == set(monitor.FEATURES)
    for name in monitor.FEATURES:
        assert found["profile"][name]["shares"] == pytest.approx([0.1] * 10)
        assert found["profile"][name]["rows"] == 1000


def test_features_do_not_depend_on_the_size_of_a_series() -> None:
    small, large = monitor.features(10, 1, 2), monitor.features(10_000, 1_000, 2_000)
    assert small == large == {"change": 0.1, "spread": 0.2}
    assert np.isfinite(list(monitor.features(0, 0, 0).values())).all()


def test_a_forecast_that_was_asked_for_often_is_one_piece_of_evidence() -> None:
    """A page that shows five series is loaded twenty times: their luck is not the model's."""
    rows = [answered(series_id=f"M{i}", truth=[100.0 + i] * 4) for i in range(5)]
    often, once = monitor.judge(rows * 20), monitor.judge(rows)
    assert often == once and once["live.mase"].error > 0
    usual = {"profile": {name: monitor_profile() for name in monitor.FEATURES}}
    assert monitor.measure(rows * 100, usual, MODEL)["live.input_drift"].value == 0


def monitor_profile() -> dict[str, Any]:
    """All values alike."""
    return {"edges": [0.05], "shares": [0.5, 0.5], "rows": 1000}


def test_live_key_results_name_metrics_that_the_monitor_declares() -> None:
    document = yaml.safe_load((Path(monitor.__file__).parent / "objectives.yaml").read_text())
    wanted = {
        result["metric"]
        for objective in document["objectives"]
        for result in objective["key_results"]
        if result["when"] == "live"
    }
    own = {"live.latency_p95_ms", "live.error_share"}
    assert wanted <= set(monitor.LIVE_METRICS) | own


def test_all_declared_metrics_are_found(tmp_path: Path) -> None:
    usual = monitor.reference(table(tmp_path / "features.parquet"))
    rows = [answered(), answered()]
    assert {*monitor.measure(rows, usual, MODEL), *monitor.judge(rows)} == set(monitor.LIVE_METRICS)


@pytest.mark.parametrize(
    ("truth", "steps"),
    [
        ([1.0, 2.0], [0, 1]),
        ([1.0] * 9, [0, 1, 2, 3]),
        ([], []),
        ({MONTHS[1]: 5.0, MONTHS[3]: 6.0, "2012-01-01T00:00:00": 7.0}, [1, 3]),
    ],
)
def test_a_truth_may_be_of_some_months_only(truth: Any, steps: list[int]) -> None:
    found, values = monitor.arrived(answered(truth=truth))
    assert found == steps and len(values) == len(steps)


def test_errors_are_scaled_and_only_of_what_has_come() -> None:
    rows = [answered(truth={MONTHS[1]: 80.0, MONTHS[2]: 130.0})]
    rows += [answered(truth=[110.0], series_id="M2")]
    rows += [answered(truth=[]), answered(truth={"2012-01-01T00:00:00": 1e9})]
    found = monitor.judge(rows)
    assert found["live.mase"].value == pytest.approx(np.mean([2.5, 1.0]))
    assert found["live.bias"].value == pytest.approx(np.mean([-0.5, -1.0]))
    assert found["live.coverage_80"].value == pytest.approx(0.5)


def test_the_error_of_coverage_is_that_of_forecasts_not_of_months() -> None:
    """All months of a forecast miss together: 40 months say no more than 10 forecasts."""
    truths = [[100.0 if i % 2 else 200.0] * 4 for i in range(10)]
    rows = [answered(truth=truth, series_id=f"M{i}") for i, truth in enumerate(truths)]
    found = monitor.judge(rows)["live.coverage_80"]
    assert found.value == 0.5
    assert found.error == pytest.approx(np.std([0, 1] * 5, ddof=1) / np.sqrt(10))


def test_constant_histories_and_other_levels_spoil_nothing() -> None:
    rows = [answered(scale=0.0, intervals={"95": answered()["intervals"]["80"]})]
    found = monitor.judge(rows)
    assert all(np.isnan(found[name].value) for name in ("live.mase", "live.coverage_80"))
    assert monitor.doubt(answered()) == 3.0 and monitor.doubt(answered(intervals={})) == 0.0


def test_a_series_is_silent_two_seasons_behind_the_newest() -> None:
    rows = [answered(series_id=None, last_observation="2020-01-01T00:00:00")]
    assert np.isnan(monitor.drift.share(monitor.silent(rows, MODEL)).value)
    rows += [answered(), answered(), answered(series_id="M2")]
    rows += [answered(series_id="M3", last_observation="2005-12-01T00:00:00")]
    assert monitor.silent(rows, MODEL).tolist() == [False, False, False], "24 months are allowed"
    rows += [answered(series_id="M4", last_observation="2005-11-01T00:00:00")]
    assert monitor.silent(rows, MODEL).tolist() == [False, False, False, True]


def test_series_that_grow_otherwise_are_drift(tmp_path: Path) -> None:
    usual = monitor.reference(table(tmp_path / "features.parquet", 20000))
    other = pd.read_parquet(table(tmp_path / "other.parquet", 500, change=0.3))
    rows = [
        answered(series_id=None, **monitor.features(row.level, row.change, row.spread))
        for row in other.itertuples()
    ]
    found = monitor.measure(rows, usual, MODEL)
    assert found["live.input_drift"].value > 0.5 and found["live.new_series_share"].value == 1
    same = pd.read_parquet(tmp_path / "features.parquet").sample(500, random_state=0)
    rows = [
        answered(**monitor.features(row.level, row.change, row.spread)) for row in same.itertuples()
    ]
    found = monitor.measure(rows, usual, MODEL)
    assert found["live.input_drift"].value < 0.02 and found["live.new_series_share"].value == 0


def test_growth_beyond_usual_by_three_quarters_of_its_spread_is_seen_in_20_of_20_runs(
    tmp_path: Path,
) -> None:
    """Goal M3: by the third window."""
    usual = monitor.reference(table(tmp_path / "features.parquet", 20000))
    results = objectives.load(Path(monitor.__file__).parent / "objectives.yaml").key_results
    (drift,) = [one for one in results if one.metric == "live.input_drift"]
    for run in range(20):
        moved = table(tmp_path / "moved.parquet", 1500, change=0.075, seed=run + 1)
        rows = [
            answered(series_id=None, **monitor.features(row.level, row.change, row.spread))
            for row in pd.read_parquet(moved).itertuples()
        ]
        windows = [rows[i : i + 500] for i in range(0, 1500, 500)]
        found = [monitor.measure(one, usual, MODEL)["live.input_drift"] for one in windows]
        assert judged.breach(drift, found) == 3, run


def quiet_and_seen(world: World, windows: int, size: int | None) -> None:
    usual = world.breaches("none", windows, size)
    assert set(usual) == {"KR3", "KR6", "KR7"} and set(usual.values()) == {None}
    assert set(world.breaches("new", min(windows, 20), size).values()) == {None}
    higher = world.breaches("higher", 5, size)
    assert higher["KR3"] is not None and higher["KR6"] is not None, "within five windows"
    assert higher["KR7"] is None, "what is asked has not changed"


@pytest.mark.pipeline
def test_usual_months_breach_nothing_and_higher_demand_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    quiet_and_seen(world, windows=30, size=40)


@pytest.mark.long
def test_two_hundred_windows_of_all_series_breach_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default configuration: all series, the real model, the sizes of objectives.yaml."""
    copy(tmp_path)
    reproduce(tmp_path, evaluate={"peer": False})
    monkeypatch.chdir(tmp_path)
    quiet_and_seen(World(tmp_path), windows=200, size=None)
