"""The numbers of a policy, and how sure they are."""

import battery as physics
import numpy as np
import pandas as pd
import pytest
import scoring


def test_cycles_profit_and_violations_of_a_run() -> None:
    charge, power = np.array([0.0, 1, 2, 1, 0, 0]), np.array([1.0, 1, -1, -1, 0])
    found = scoring.of_run(physics.Battery(1.0), charge, power, np.array([-10.0, -10, 40, 40, 0]))
    assert found == {"profit_usd": 60, "cycles": 0.5, "violations": 0}


def test_the_worst_seed_is_the_lowest_profit_and_the_most_violations() -> None:
    rows = [{"profit": float(p), "violations": float(v)} for p, v in ((5, 0), (9, 2), (7, 1))]
    found = scoring.over_seeds(rows, {"profit"})
    assert found == {
        "profit": 7,
        "profit_worst": 5,
        "violations": 1,
        "violations_worst": 2,
    }


def test_the_interval_over_seeds_is_students() -> None:
    assert scoring.interval([4.0]) == [4, 4] == scoring.interval([4.0, 4.0])
    low, high = scoring.interval([1.0, 2.0, 3.0])
    assert (low, high) == (
        pytest.approx(2 - 4.303 / 3**0.5, abs=1e-3),
        pytest.approx(4.484, abs=1e-3),
    )


def test_months_add_up_to_the_whole_through_a_change_of_clocks() -> None:
    times = pd.date_range("2024-02-01", "2024-05-01", freq="h", tz="Europe/Berlin")
    earned = np.arange(len(times), dtype=float)
    found = scoring.by_month(times, {"policy": earned})
    assert found["month"].tolist() == ["2024-02", "2024-03", "2024-04", "2024-05"]
    assert found["policy"].sum() == earned.sum()


def test_a_lead_is_more_than_luck_only_where_it_is() -> None:
    times = pd.date_range("2024-01-01", periods=52 * 168, freq="h", tz="UTC")
    generator = np.random.default_rng(0)
    one = generator.normal(1, 30, len(times))
    low, high = scoring.difference_of_weeks(times, one, one + generator.normal(0, 30, len(one)), 0)
    assert low < 0 < high
    low, high = scoring.difference_of_weeks(times, one + 3, one, 0)
    assert low == pytest.approx(high) == pytest.approx(3 * len(times))
    assert scoring.difference_of_weeks(times, one, one * 0, 1) == (
        scoring.difference_of_weeks(times, one, one * 0, 1)
    )


def test_cycles_count_energy_and_not_steps() -> None:
    battery = physics.Battery(0.5, 2.0, 5.0)
    power = np.array([2.0, 2, 2, -2, -1])
    charge = np.cumsum([0.0, *power * 0.5])
    found = scoring.of_run(battery, charge, power, np.zeros(5))
    assert found == {"profit_usd": 0, "cycles": pytest.approx(1.5 / 5), "violations": 0}
    assert scoring.of_run(battery, charge + 9, power, np.zeros(5))["violations"] == 5
    assert scoring.of_run(battery, charge, power * 2, np.zeros(5))["violations"] == 5


def test_one_seed_is_median_and_worst_and_of_two_the_median_lies_between() -> None:
    assert scoring.over_seeds([{"a": 3.0}], {"a"}) == {"a": 3, "a_worst": 3}
    two = [{"a": -4.0, "b": -4.0}, {"a": 2.0, "b": 2.0}]
    assert scoring.over_seeds(two, {"b"}) == {"a": -1, "a_worst": 2, "b": -1, "b_worst": -4}


def test_the_interval_is_symmetrical_and_wide_for_two() -> None:
    low, high = scoring.interval([10.0, 12.0])
    assert (low + high) / 2 == pytest.approx(11) and high - 11 == pytest.approx(12.706, abs=1e-3)
    wide = scoring.interval([1.0, 2.0, 3.0, 4.0])
    assert wide[0] < 2.5 < wide[1] and wide[1] - wide[0] < high - low


@pytest.mark.parametrize(("first", "hours"), [("2024-03", 31 * 24 - 1), ("2024-10", 31 * 24 + 1)])
def test_a_month_is_a_month_of_the_clock_on_the_wall(first: str, hours: int) -> None:
    times = pd.date_range(f"{first}-01", periods=2000, freq="h", tz="Europe/Berlin")
    found = scoring.by_month(times, {"one": np.ones(2000), "other": -np.ones(2000)})
    assert list(found) == ["month", "one", "other"] and found["month"][0] == first
    assert found["one"][0] == hours == -found["other"][0]
    assert found[["one", "other"]].sum().tolist() == [2000, -2000]


def test_a_week_that_was_cut_counts_and_a_seed_is_a_draw() -> None:
    times = pd.date_range("2024-01-01", periods=10 * 168 + 5, freq="h", tz="America/Chicago")
    assert scoring.difference_of_weeks(times[:100], np.ones(100), np.zeros(100), 0) == [100, 100]
    noise = np.random.default_rng(0).normal(0, 1, len(times))
    one, other = (scoring.difference_of_weeks(times, noise, noise * 0, seed) for seed in (1, 2))
    assert one != other and one == pytest.approx(other, rel=0.3, abs=20)


def test_the_side_that_is_better_is_told() -> None:
    times = pd.date_range("2024-01-01", periods=30 * 168, freq="h", tz="UTC")
    noise = np.random.default_rng(0).normal(0, 5, (2, len(times)))
    low, high = scoring.difference_of_weeks(times, noise[0] + 2, noise[1], 0)
    back = scoring.difference_of_weeks(times, noise[1], noise[0] + 2, 0)
    assert 0 < low < 2 * len(times) < high * 1.2 and back == pytest.approx([-high, -low])
    assert scoring.difference_of_weeks(times, noise[0], noise[0], 0) == [0, 0]
