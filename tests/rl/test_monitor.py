"""The profile of what training sees, what lies outside it, and what live windows say beside it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import battery as physics
import judged
import monitor
import numpy as np
import pandas as pd
import pytest
import sources
import traffic

from rl import decided, markets
from shared import objectives, params
from shared.objectives import KeyResult

FOLDER = Path(monitor.__file__).parent
USUAL = 28.2  # $/MWh, of the sample's training part
STARTS = [0, 5, 14, 26, 62, 95, 108, 179, 182, 220, 223, 233, 291, 297, 329, 353]  # days of 2022


def results() -> dict[str, KeyResult]:
    """Live key results with windows, by their metric."""
    loaded = objectives.load(FOLDER / "objectives.yaml")
    return {result.metric: result for result in loaded.key_results if result.count}


def test_shares_add_up_and_ranges_hold_all_that_was_seen() -> None:
    generator = np.random.default_rng(0)
    seen = np.column_stack([generator.normal(size=500), np.ones(500), np.arange(500.0)])
    found = monitor.reference(seen, np.arange(500.0), monitor.numbered(seen))
    assert found["live_metrics"] == monitor.LIVE_METRICS
    profile = found["profile"]
    for number in profile["numbers"].values():
        assert abs(sum(number["shares"]) - 1) < 1e-12 and number["rows"] == 500
        assert len(number["shares"]) == len(number["edges"]) + 1
    assert not monitor.outside(seen, profile).any()
    assert profile["random_reward_quantiles"][0] == 0 and len(profile["low"]) == 3


def test_beyond_the_range_by_more_than_a_tenth_is_outside() -> None:
    profile = {"low": [0.0, 0.0], "high": [10.0, 1.0]}
    seen = np.array([[5, 0.5], [10.9, 0.5], [11.1, 0.5], [5, -0.2], [-1.1, 0.5]])
    assert monitor.outside(seen, profile).tolist() == [False, False, True, True, True]


def test_a_profile_by_hand() -> None:
    seen = np.array([[0.0, 7], [1, 7], [2, 7], [3, 7], [4, 7]])
    columns = monitor.numbered(seen) | {"level": np.log([0.2, 0.5, 1, 2, 4])}
    profile = monitor.reference(seen, np.array([4.0, 0, 2, 1, 3]), columns)["profile"]
    assert (profile["low"], profile["high"]) == ([0, 7], [4, 7])
    assert profile["numbers"]["0"]["shares"] == [0.2] * 5
    assert profile["numbers"]["1"] == {"edges": [7], "shares": [0, 1], "rows": 5}
    assert profile["numbers"]["level"]["shares"] == [0.2, 0.6, 0.2], "a third, three times"
    assert profile["random_reward_quantiles"] == [0, 0.2, 2, 3.8, 4]


def test_quintiles_hold_a_fifth_each_and_of_a_long_observation_the_first_numbers_count() -> None:
    seen = np.random.default_rng(0).normal(size=(5000, 40))
    found = monitor.shares(monitor.numbered(seen))
    assert list(found) == [str(i) for i in range(monitor.MOST)]
    assert found["7"]["edges"] == sorted(found["7"]["edges"]) and len(found["7"]["edges"]) == 4
    assert np.abs(np.array(found["7"]["shares"]) - 0.2).max() < 0.001


def test_a_number_that_never_changed_may_not_change_and_one_such_number_is_enough() -> None:
    profile = {"low": [2.0, 0.0], "high": [2.0, 10.0]}
    seen = np.array([[2, 0], [2.001, 5], [2, 11.0], [2, 11.01], [1.9, 20]])
    assert monitor.outside(seen, profile).tolist() == [False, True, False, True, True]
    assert monitor.outside(np.zeros((0, 2)), profile).shape == (0,)


def test_features_are_relative_to_the_week_and_its_level_to_training() -> None:
    week = np.full(168, 50.0)
    week[-2:] = 40, 100
    found = monitor.seen(week, usual=25.0)
    wanted = {"level": np.log(2), "price": np.arcsinh(2), "step": np.arcsinh(1.2)}
    assert found == pytest.approx(wanted, abs=1e-4)
    dearer = monitor.seen(week * 7, usual=25.0)
    assert {**dearer, "level": 0} == {**found, "level": 0} and dearer["level"] > 2.6
    near_nothing = monitor.seen(week * 0, usual=24.0)
    assert near_nothing == pytest.approx({"level": -np.log(6), "price": 0, "step": 0}, abs=1e-4)


def test_what_did_not_arrive_is_kept_as_unknown() -> None:
    week = np.full(168, 50.0)
    week[[3, 166]] = np.nan
    assert monitor.seen(week, 25.0) == {"level": 0.6931, "price": 0.8814, "step": None}
    week[-1] = np.nan
    assert monitor.seen(week, 25.0) == {}
    assert monitor.seen(np.full(168, np.nan), 25.0) == {}


def row(**changes: Any) -> dict[str, Any]:
    usual = {"source": "policy", "guards": [], "share": 1.0, "seen": {"price": 1.0}}
    return usual | changes


TRADING = {"env": {"id": "battery", "actions": 3}, "action_mix": {"0": 0.5, "2": 0.5}}
ONE = {"price": {"edges": [0.5], "shares": [0.5, 0.5], "rows": 100}}


def test_a_full_battery_is_no_guarded_one() -> None:
    rows = [
        row(guards=["limits"]),
        row(guards=["unfamiliar", "filled"]),
        row(source="safe", guards=["stale"]),
        row(guards=["charge"]),
    ]
    model, usual = TRADING | {"action_rows": 100}, {"profile": {"numbers": ONE}}
    found = monitor.measure(rows, usual, model)
    assert found["live.guarded_share"].value == 0.5 and found["live.outside_share"].value == 0.25
    assert [monitor.doubt(one) for one in rows] == [0, 2, 1, 1]


def test_actions_are_counted_as_the_policy_numbers_them() -> None:
    model, usual = TRADING | {"action_rows": 1000}, {"profile": {"numbers": ONE}}
    even = [row(share=share) for share in (-1.0, 1.0) * 100]
    assert monitor.measure(even, usual, model)["live.action_drift"].value == 0
    idle = [row(share=0.0)] * 200
    assert monitor.measure(idle, usual, model)["live.action_drift"].value > 1
    free = model | {"action_mix": None, "env": {"id": "battery", "actions": None}}
    assert np.isnan(monitor.measure(idle, usual, free)["live.action_drift"].value)


def test_an_environment_without_prices_is_compared_with_its_own_policy() -> None:
    generator = np.random.default_rng(0)
    numbers = monitor.shares(monitor.numbered(generator.normal(size=(2000, 4))))
    model = {"env": {"id": "CartPole-v1", "actions": 3}, "numbers": numbers}
    model |= {"action_mix": {"0": 0.5, "1": 0.5}, "action_rows": 2000}
    rows = [
        {"action": i % 2, "source": "policy", "guards": [], "truth": 1.0}
        | {"seen": {str(j): float(value) for j, value in enumerate(generator.normal(size=4))}}
        for i in range(500)
    ]
    found = monitor.measure(rows, {"profile": {"numbers": ONE}}, model)
    assert found["live.input_drift"].value == 0 and found["live.action_drift"].value == 0
    moved = [one | {"seen": {"0": 2.0}} for one in rows]
    assert monitor.measure(moved, {}, model)["live.input_drift"].value > 1
    judged = monitor.judge(rows, model)
    assert judged["live.mean_reward"].value == 1
    assert np.isnan(judged["live.share_of_optimum"].value)


def test_every_key_result_has_its_metric() -> None:
    assert results().keys() < monitor.LIVE_METRICS.keys()
    battery = physics.build(markets.PHYSICAL, 1.0)
    rest = np.zeros(96)
    rows = [row() | one for one in decided.logged(battery, markets.prices(4), rest, rest)]
    model = TRADING | {"env": markets.ENV, "day": 24, "action_rows": 9}
    found = monitor.measure(rows, {"profile": {"numbers": ONE}}, model) | monitor.judge(rows, model)
    assert results().keys() <= found.keys()
    assert found["live.share_of_optimum"].value == 0


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The hours of the sample by point: 2021 and 2022."""
    with pytest.MonkeyPatch.context() as patch:  # where a package is fetched that is missing
        patch.chdir(tmp_path_factory.mktemp("sample"))
        return {
            name: sources.read_sample(FOLDER / "sample", name) for name in ("HB_NORTH", "HB_PAN")
        }


def kept(prices: Any) -> list[dict[str, Any]]:
    """What the log keeps of each hour of 2022."""
    weeks = np.lib.stride_tricks.sliding_window_view(prices, 168)
    found = monitor.features(weeks[8760 - 167 :], USUAL)
    return [
        row(seen=dict(zip(found, values, strict=True))) for values in np.stack([*found.values()], 1)
    ]


@pytest.mark.parametrize(
    ("point", "times", "wanted"),
    [("HB_NORTH", 1, 0), ("HB_NORTH", 10, 8), ("HB_PAN", 1, 7)],
)
def test_prices_of_2022_drift_from_2021_only_where_they_are_shifted(
    years: dict[str, pd.DataFrame], point: str, times: int, wanted: int
) -> None:
    """From eight days of the year on, 17 windows each: 136 that overlap."""
    weeks = np.lib.stride_tricks.sliding_window_view(years["HB_NORTH"]["price"].to_numpy(), 168)
    numbers = monitor.shares(monitor.features(weeks[: 8760 - 167], USUAL))
    rows, result = kept(years[point]["price"].to_numpy() * times), results()["live.input_drift"]
    model = TRADING | {"action_rows": 9}
    found = []
    for start in range(0, 8736, 1092):
        turned = rows[start:] + rows[:start]
        windows = [turned[i : i + 500] for i in range(0, 8500, 500)]
        drifts = [
            monitor.measure(window, {"profile": {"numbers": numbers}}, model) for window in windows
        ]
        found.append(judged.breach(result, [drift["live.input_drift"] for drift in drifts]))
    assert sum(end is not None for end in found) == wanted
    if times == 10:
        assert set(found) == {3}, "as soon as three windows are there"


def test_tenfold_prices_are_seen_by_the_third_window_from_20_of_20_days_on(
    years: dict[str, pd.DataFrame],
) -> None:
    """Goal M3."""
    prices, result = years["HB_NORTH"]["price"].to_numpy(), results()["live.input_drift"]
    weeks = np.lib.stride_tricks.sliding_window_view(prices, 168)
    usual = {"numbers": monitor.shares(monitor.features(weeks[: 8760 - 167], USUAL))}
    rows, model = kept(prices * 10), TRADING | {"action_rows": 9}
    for start in range(0, 20 * 18 * 20, 18 * 20):
        windows = [rows[start + i : start + i + 500] for i in range(0, 1500, 500)]
        found = [monitor.measure(one, {"profile": usual}, model) for one in windows]
        assert judged.breach(result, [one["live.input_drift"] for one in found]) == 3, start


def breaches(shift: str, start: int, number: int) -> dict[str, int | None]:
    """Metric -> the window at which its key result is breached, of `number` windows of 672 hours
    of held-out traffic, decided by the exported policy."""
    from predictor import Predictor

    predictor = Predictor()
    usual, model = params.read_json("reports/reference.json"), params.read_json("export/model.json")
    rows = list(
        itertools.islice(decided.by_policy(predictor, traffic.items(shift, start)), 672 * number)
    )

    def windows(result: KeyResult) -> Iterator[Any]:
        count = result.count or 1
        for i in range(0, len(rows) - count + 1, count):
            part = rows[i : i + count]
            found = (
                monitor.judge(part, model)
                if result.labelled
                else monitor.measure(part, usual, model)
            )
            yield found[result.metric]

    return {name: judged.breach(result, windows(result)) for name, result in results().items()}


@pytest.fixture
def reproduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blueprint's folder with the results of its pipeline, as the present one."""
    if not (FOLDER / "export/policy.onnx").exists():
        pytest.skip("needs what the pipeline makes: dvc repro")
    monkeypatch.chdir(FOLDER)


def test_usual_prices_are_quiet_and_a_crisis_is_answered_by_learning(reproduced: None) -> None:
    assert set(breaches("none", 0, 4).values()) == {None}
    found = breaches("crisis", 0, 3)
    assert found.pop("live.share_of_optimum") == 3 and found.pop("live.input_drift") == 3
    assert set(found.values()) == {None}, "nothing is rolled back, nobody is woken"


@pytest.mark.long
def test_208_usual_windows_are_quiet(reproduced: None) -> None:
    """The year from each of 16 drawn days on, 13 windows each."""
    found = {start: breaches("none", start, 13) for start in STARTS}
    assert {start for start in STARTS if set(found[start].values()) != {None}} == set()


@pytest.mark.long
@pytest.mark.parametrize(("shift", "seen"), [("crisis", 14), ("zone", 11)])
def test_shifts_are_seen_within_five_windows_unless_summer_comes_first(
    reproduced: None, shift: str, seen: int
) -> None:
    """In June to August a policy of any origin earns nearly what there is to be earned."""
    found = [breaches(shift, start, 5)["live.share_of_optimum"] for start in STARTS]
    assert found[0] == 3 and sum(end is not None for end in found) >= seen
