import tracemalloc

import numpy as np
import pytest

from shared import comparing
from shared.audit import Refused


def draws(n: int, gain: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses of two models that vary together from record to record."""
    generator = np.random.default_rng(seed)
    theirs = generator.exponential(1.0, n)
    return theirs - gain + generator.normal(0, 0.1, n), theirs


def test_a_gain_that_is_sure_is_better_and_its_interval_holds_it() -> None:
    ours, theirs = draws(200, 0.05, 0)
    found = comparing.compare(ours, theirs, seed=0)
    assert found.better and 0 < found.low < 0.05 < found.high
    assert found.gain == pytest.approx((theirs - ours).mean())
    assert comparing.compare(ours, theirs, seed=0) == found
    worse = comparing.compare(theirs, ours, seed=0)
    assert not worse.better and worse.high == pytest.approx(-found.low, abs=1e-3)


def test_no_gain_is_seldom_taken_for_one() -> None:
    """At most one in forty is expected above a 95 % interval; 5 of 60 would be far more."""
    found = [comparing.compare(*draws(100, 0.0, seed), seed=seed) for seed in range(60)]
    assert sum(one.better for one in found) <= 4


def test_equal_models_are_not_better() -> None:
    losses = np.ones(50)
    assert not comparing.compare(losses, losses, seed=0).better


def test_too_few_records_are_refused_with_the_reason() -> None:
    with pytest.raises(Refused, match="refused: 29 records to compare on, at least 30 are needed"):
        comparing.compare(np.zeros(29), np.ones(29), seed=0)
    assert comparing.compare(np.zeros(30), np.ones(30), seed=0).better


@pytest.mark.parametrize("theirs", [np.ones(39), np.ones((40, 1)), np.full(40, np.nan)])
def test_losses_that_do_not_fit_together_are_errors(theirs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="losses"):
        comparing.compare(np.ones(40), theirs, seed=0)


def test_many_records_need_little_memory() -> None:
    ours, theirs = draws(20_000, 0.01, 0)
    tracemalloc.start()
    comparing.compare(ours, theirs, seed=0)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
