"""Does an exported model say the same as the one that was trained, and is it smaller and faster?"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def parity(
    ours: np.ndarray, theirs: np.ndarray, decide: Callable[[np.ndarray], np.ndarray]
) -> dict[str, float]:
    """Largest difference of outputs and share of equal decisions of two models on the same inputs.

    ours, theirs: [n, ...] outputs in the same order; decide: outputs -> [n] decisions.
    Raises ValueError when shapes differ or a value is not finite.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"outputs differ in shape: {ours.shape} and {theirs.shape}")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ValueError("outputs are not finite")
    return {
        "max_abs_diff": float(np.abs(ours - theirs).max()),
        "decision_agreement": float(np.mean(decide(ours) == decide(theirs))),
    }


def size_mb(*paths: Path) -> float:
    """Size of files in MB (10^6 bytes)."""
    return sum(path.stat().st_size for path in paths) / 1e6


def latencies_ms(
    calls: dict[str, Callable[[Any], Any]],
    inputs: Sequence[Any],
    rounds: int = 3,
    in_a_row: int = 1,
) -> dict[str, float]:
    """Median milliseconds per call of each candidate.

    The candidates take turns on every input, so that noise of the machine meets all of them alike;
    each calls so often in a row, as something in use does, whose code is in the processor's cache.
    """
    for call in calls.values():
        call(inputs[0])
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for value in inputs:
            for name, call in calls.items():
                for _ in range(in_a_row):
                    begin = time.perf_counter()
                    call(value)
                    taken[name].append((time.perf_counter() - begin) * 1e3)
    return {name: float(np.median(times)) for name, times in taken.items()}
