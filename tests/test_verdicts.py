"""A miss is one beyond chance, and a breach is of the model that serves."""

import math
from pathlib import Path
from typing import Any

import pytest

from shared import lineage, verdicts
from shared.objectives import KeyResult

ASKED = {"id": "K", "requirement": "R", "when": "live", "then": "page", "metric": "live.x"}


def result(times: str, **target: float) -> KeyResult:
    return KeyResult.model_validate({**ASKED, "window": "9 requests", "for": times, **target})


def test_a_miss_is_one_beyond_chance() -> None:
    floor, ceiling = result("1 of 1", at_least=0.8), result("1 of 1", at_most=0.2)
    assert not verdicts.misses(floor, 0.75, 0.04) and verdicts.misses(floor, 0.75, 0.02)
    assert not verdicts.misses(ceiling, 0.25, 0.04) and verdicts.misses(ceiling, 0.25, 0.02)


@pytest.mark.parametrize(("value", "error"), [(math.nan, 0.0), (0.1, math.nan), (0.1, math.inf)])
def test_what_is_not_known_misses_nothing(value: float, error: float) -> None:
    assert not verdicts.misses(result("1 of 1", at_least=0.8), value, error)
    assert not verdicts.misses(result("1 of 1", at_most=0.01), value, error)


def windows(*pairs: tuple[str, bool]) -> list[dict[str, Any]]:
    """One a second."""
    return [
        {"model": model, "missed": missed, "time": float(time)}
        for time, (model, missed) in enumerate(pairs)
    ]


def test_windows_of_other_models_and_from_before_it_was_put_in_place_do_not_count() -> None:
    asked = result("2 of 3", at_least=0.8)
    found = windows(("a", True), ("a", True), ("b", False), ("a", True))
    assert not verdicts.breached(asked, found, "b", since=2)
    assert verdicts.breached(asked, found, "a", since=0)
    assert not verdicts.breached(asked, found, "a", since=3), "it came back after a rollback"
    assert not verdicts.breached(asked, found, "c", since=0), "it has no window yet"


def test_a_model_is_in_place_since_its_last_deployment(tmp_path: Path) -> None:
    assert verdicts.placed(tmp_path, "a") == 0
    for name, change in (("a", "promoted"), ("b", "promoted")):
        lineage.flip(tmp_path, name, event=change, version=name)
    lineage.flip(tmp_path, "a", event="rolled_back", version="b", to="a")
    (*_, last) = lineage.history(tmp_path)
    assert verdicts.placed(tmp_path, "a") == last["time"] > 1.7e9
    assert verdicts.placed(tmp_path, "b") == 0
