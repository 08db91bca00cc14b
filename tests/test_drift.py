"""Measures of a window: what chance does is not drift, what is drift is seen."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from shared import drift, params

ROOT = Path(__file__).parent.parent
RANDOM = np.random.default_rng(0)
EDGES = np.quantile(RANDOM.normal(size=100_000), np.linspace(0, 1, 11)[1:-1])
PROFILE = {"x": {"edges": EDGES.tolist(), "shares": [0.1] * 10, "rows": 1500}}


def test_ten_thousand_windows_without_drift_show_none() -> None:
    rows = np.bincount(RANDOM.integers(0, 10, 1500), minlength=10)
    found = [
        drift.stability(
            np.bincount(RANDOM.integers(0, 10, 200), minlength=10), rows / 1500, 1500, p
        )
        for p in [0.001] * 10_000
    ]
    assert np.mean(np.array(found) > 0) < 0.003
    assert max(found) < 0.05


@pytest.mark.parametrize("moved", [0.7, -0.7])
def test_a_shift_of_two_thirds_of_a_deviation_is_drift(moved: float) -> None:
    found = [
        drift.input_drift({"x": RANDOM.normal(moved, 1, 500)}, PROFILE).value for _ in range(100)
    ]
    assert min(found) > 0.2


def test_numbers_that_are_not_finite_are_left_out_and_an_empty_window_is_unknown() -> None:
    values = [*RANDOM.normal(size=500), math.nan, math.inf]
    assert drift.input_drift({"x": values}, PROFILE).value == 0
    assert math.isnan(drift.input_drift({"x": []}, PROFILE).value)


def test_a_feature_without_a_number_hides_no_drift_of_another() -> None:
    usual = {"edges": [0.0], "shares": [0.5, 0.5], "rows": 1000}
    columns = {"none": [math.nan] * 200, "moved": [1.0] * 200}
    for names in (["none", "moved"], ["moved", "none"]):
        ordered = {name: columns[name] for name in names}
        assert drift.input_drift(ordered, dict.fromkeys(names, usual)).value > 1
    assert math.isnan(drift.largest([math.nan])) and math.isnan(drift.largest([]))


def test_a_single_record_is_as_far_as_its_farthest_feature_lies_beyond_the_reference() -> None:
    usual = {"profile": {"x": {"edges": [10, 15, 20]}, "low": [1], "numbers": {"y": PROFILE["x"]}}}
    for row, distance in [
        ({"x": 10}, 0.0),
        ({"x": 35, "y": 0.1}, 1.5),
        ({"x": 12, "seen": {"y": float(EDGES[-1] + 2 * (EDGES[-1] - EDGES[0]))}}, 2.0),
        ({"x": math.nan, "seen": {"y": None}}, 0.0),
        ({"z": 9}, 0.0),
    ]:
        assert drift.of_one(row, usual, {}) == pytest.approx(distance), row
    own = {"embedding": {"component_2": {"edges": [0.0]}}, "numbers": {"x": {"edges": [0, 30]}}}
    assert drift.of_one({"x": 25, "embedding": [9, 0]}, usual, own) == 0, "the model's own range"
    assert drift.of_one({"x": 25, "embedding": [0, -4]}, usual, own) == 4


@pytest.mark.parametrize(
    ("blueprint", "feature"),
    [("cv", "brightness"), ("timeseries", "change"), ("rl", "step"), ("genai", "tokens")],
)
def test_each_blueprints_reference_tells_how_far_a_record_of_its_log_lies(
    blueprint: str, feature: str
) -> None:
    usual = params.read_json(ROOT / f"blueprints/{blueprint}/reports/reference.json")
    told = usual["profile"].get("numbers", usual["profile"])
    middle = {name: profile["edges"][len(profile["edges"]) // 2] for name, profile in told.items()}
    far = middle | {feature: 10 * told[feature]["edges"][-1]}
    near, far = ({"seen": one} if blueprint == "rl" else one for one in (middle, far))
    assert drift.of_one(near, usual, {}) == 0 < 1 < drift.of_one(far, usual, {})


def test_what_came_again_with_the_same_answer_counts_once() -> None:
    rows = [{"a": 1, "b": [1.0], "n": n} for n in range(3)] + [{"a": 1, "b": [2.0], "n": 3}]
    assert [row["n"] for row in drift.distinct(rows, "a", "b")] == [2, 3]
    assert [row["n"] for row in drift.distinct(rows, "a", "missing")] == [3]


def test_a_category_that_was_never_seen_is_drift() -> None:
    usual = {"a": 0.5, "b": 0.5}
    assert drift.mix_drift({"a": 48, "b": 52}, usual, 1000) == 0
    assert drift.mix_drift({"a": 30, "b": 30, "c": 40}, usual, 1000) > 0.5


@pytest.mark.parametrize("degrees", [3, 4, 9, 40])
def test_quantiles_of_chi_square_are_those_of_scipy(degrees: int) -> None:
    for probability in [0.95, 0.999, 0.9999]:
        expected = chi2.ppf(probability, degrees)
        assert drift.chi_square(probability, degrees) == pytest.approx(expected, rel=0.04)


def test_a_share_is_never_certain_and_its_interval_holds_the_truth() -> None:
    assert drift.share([True] * 20).error > 0.02
    inside = 0
    for _ in range(1000):
        found = drift.share(RANDOM.random(100) < 0.9)
        inside += abs(found.value - 0.9) < drift.CERTAIN * found.error
    assert inside > 900
    assert math.isnan(drift.share([]).value)


def test_a_mean_of_one_value_is_not_certain() -> None:
    assert drift.mean([3.0]) == (3.0, math.inf)
    assert math.isnan(drift.mean([]).value)
    assert drift.mean([1.0, 2.0, 3.0, math.nan]).value == 2
