"""The profile of what training sees, and what lies outside it."""

import monitor
import numpy as np


def test_shares_add_up_and_ranges_hold_all_that_was_seen() -> None:
    generator = np.random.default_rng(0)
    seen = np.column_stack([generator.normal(size=500), np.ones(500), np.arange(500.0)])
    found = monitor.reference(seen, np.arange(500.0))
    assert found["live_metrics"] == monitor.LIVE_METRICS
    profile = found["profile"]
    for number in profile["numbers"]:
        assert abs(sum(number["shares"]) - 1) < 1e-12
        assert len(number["shares"]) == len(number["edges"]) + 1
    assert not monitor.outside(seen, profile).any()
    assert profile["random_reward_quantiles"][0] == 0 and len(profile["low"]) == 3


def test_beyond_the_range_by_more_than_a_tenth_is_outside() -> None:
    profile = {"low": [0.0, 0.0], "high": [10.0, 1.0]}
    seen = np.array([[5, 0.5], [10.9, 0.5], [11.1, 0.5], [5, -0.2], [-1.1, 0.5]])
    assert monitor.outside(seen, profile).tolist() == [False, False, True, True, True]


def test_a_profile_by_hand() -> None:
    seen = np.array([[0.0, 7], [1, 7], [2, 7], [3, 7]])
    profile = monitor.reference(seen, np.array([4.0, 0, 2, 1, 3]), bins=2)["profile"]
    assert (profile["low"], profile["high"]) == ([0, 7], [3, 7])
    assert profile["numbers"][0] == {"edges": [1.5], "shares": [0.5, 0.5]}
    assert profile["numbers"][1] == {"edges": [7], "shares": [0, 1]}
    assert profile["random_reward_quantiles"] == [0, 0.2, 2, 3.8, 4]


def test_deciles_hold_a_tenth_each() -> None:
    seen = np.random.default_rng(0).normal(size=(5000, 1))
    (number,) = monitor.reference(seen, np.zeros(1))["profile"]["numbers"]
    assert len(number["edges"]) == 9 and number["edges"] == sorted(number["edges"])
    assert np.abs(np.array(number["shares"]) - 0.1).max() < 0.001


def test_a_number_that_never_changed_may_not_change_and_one_such_number_is_enough() -> None:
    profile = {"low": [2.0, 0.0], "high": [2.0, 10.0]}
    seen = np.array([[2, 0], [2.001, 5], [2, 11.0], [2, 11.01], [1.9, 20]])
    assert monitor.outside(seen, profile).tolist() == [False, True, False, True, True]
    assert monitor.outside(np.zeros((0, 2)), profile).shape == (0,)
