"""Results come in order, few wait at a time, and an error stops what has not begun."""

import threading
import time

import pytest
from parallel import in_order


def test_results_come_in_order_though_the_first_takes_longest() -> None:
    def slow(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item * 2

    assert list(in_order(slow, range(50), "test", threads=4)) == list(range(0, 100, 2))
    assert list(in_order(slow, [], "test")) == []


def test_a_slow_reader_does_not_fill_the_memory() -> None:
    begun: list[int] = []
    results = in_order(lambda item: begun.append(item), range(1000), "test", threads=2)
    next(results)
    assert len(begun) <= 8
    results.close()


def test_an_error_comes_through_and_stops_the_rest() -> None:
    begun, gate = [], threading.Event()

    def fail(item: int) -> None:
        begun.append(item)
        if item == 3:
            gate.set()
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(in_order(fail, range(100_000), "test", threads=2))
    assert gate.is_set() and len(begun) < 100
