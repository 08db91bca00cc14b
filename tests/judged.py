"""When a key result is breached, by what its windows measured: as the monitor counts it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from shared import objectives, verdicts
from shared.drift import Estimate
from shared.objectives import KeyResult


def breach(result: KeyResult, windows: Iterable[Estimate]) -> int | None:
    """Number of the first window at which n of the last m windows miss the target."""
    missed = [verdicts.misses(result, *estimate) for estimate in windows]
    times, last = result.n_of_m or (1, 1)
    ends = range(1, len(missed) + 1)
    return next((end for end in ends if sum(missed[max(0, end - last) : end]) >= times), None)


def breaches(folder: Path, windows: list[Mapping[str, Estimate]]) -> dict[str, int]:
    """Each key result of a blueprint that these windows breach, and at which of them."""
    results = [one for one in objectives.load(folder / "objectives.yaml").key_results if one.count]
    ends = {one.id: breach(one, [found[one.metric] for found in windows]) for one in results}
    return {name: end for name, end in ends.items() if end is not None}
