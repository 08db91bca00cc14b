"""Does a window miss a key result's target, and do enough windows of the model that serves?"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared import lineage
from shared.drift import CERTAIN, Estimate
from shared.objectives import KeyResult


def misses(result: KeyResult, value: float, error: float) -> bool:
    """Is a metric beyond its target by more than chance?

    One that is not known, or not how well, misses nothing.
    """
    if math.isnan(value) or math.isnan(error):
        return False
    margin = CERTAIN * error
    return not result.holds(value + margin if result.at_least is not None else value - margin)


def judged(
    result: KeyResult, measured: Mapping[str, Estimate]
) -> tuple[str, str, float | None, float | None, bool]:
    """What is kept of a window: id, metric, value and error (None where not known), missed.

    Raises SystemExit where the metric is not among those that such a window has.
    """
    if result.metric not in measured:
        told = f"{result.metric} is not measured over windows of '{result.window}'"
        known = f"these are: {', '.join(sorted(measured))}"
        raise SystemExit(f"objectives.yaml: {result.id}: {told}, {known}")
    value, error = measured[result.metric]
    if math.isnan(value) or math.isnan(error):
        return result.id, result.metric, None, None, False
    missed = misses(result, value, error)
    return result.id, result.metric, value, min(error, 1e300), missed


def anew(result: KeyResult, windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Windows that were kept, held to the key result's target of today."""
    for one in windows:
        known = one["value"] is not None
        one["missed"] = known and misses(result, one["value"], one["error"])
    return windows


def breached(result: KeyResult, windows: list[dict[str, Any]], serves: str, since: float) -> bool:
    """Do n of the last m windows of the model that `serves` miss the target?

    windows: model, missed, time of each, oldest first. Those of models before say nothing of it,
    nor do its own from before `since`: else a late truth of its predecessor would roll it back.
    """
    own = [one for one in windows if one["model"] == serves and one["time"] >= since]
    times, last = result.n_of_m or (1, 1)
    return bool(sum(one["missed"] for one in own[-last:]) >= times)


def changed(live: Path) -> float:
    """When the model was exchanged the last time, in seconds since 1970; 0 where it never was."""
    changes = lineage.history(live)
    return float(changes[-1]["time"]) if changes else 0.0


def placed(live: Path, model: str) -> float:
    """When the model was put in place the last time, in seconds since 1970; 0 where it is not the
    one that `releasing` deployed last."""
    return changed(live) if lineage.current(live) == model else 0.0
