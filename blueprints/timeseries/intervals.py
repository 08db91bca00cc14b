"""Intervals around a forecast from the errors of the backtest: split conformal, numpy only."""

from typing import Any

import numpy as np

Array = np.ndarray
MIN_SAMPLES = 100  # errors for a quantile of its own; with fewer the steps around lend theirs


def interval(mean: Array, unit: float, level: float, meta: dict[str, Any]) -> tuple[Array, Array]:
    """Lower and upper bound [horizon] that shall hold `level` per cent of what comes.

    unit: features.scale of the series; meta: model.json with the quantiles of the backtest.
    """
    below, above = (np.array(side)[: len(mean)] for side in meta["quantiles"][f"{level:g}"])
    floor = -np.inf if meta["negative"] else 0.0
    lower, upper = mean + unit * below, mean + unit * above
    return np.clip(lower, floor, mean), np.maximum(upper, mean)


def quantiles(errors: list[list[float]], levels: tuple[float, ...]) -> dict[str, list[list[float]]]:
    """level -> [below, above], each [horizon]: the interval around a forecast, in units of scale.

    errors: per step ahead, pooled over series and folds. With the finite-sample correction
    (n + 1) / n of split conformal prediction (Vovk, Gammerman and Shafer 2005).
    """
    pooled = [around(errors, step) for step in range(len(errors))]
    return {
        f"{level:g}": [bounds(pooled, level, upper) for upper in (False, True)] for level in levels
    }


def around(errors: list[list[float]], step: int) -> Array:
    """Errors of a step and of as many steps around it as make MIN_SAMPLES."""
    width, found = 0, errors[step]
    while len(found) < MIN_SAMPLES and width < len(errors):
        width += 1
        found = [
            error for part in errors[max(0, step - width) : step + width + 1] for error in part
        ]
    return np.sort(np.array(found or [0.0]))


def bounds(pooled: list[Array], level: float, upper: bool) -> list[float]:
    """Quantile of each step's sorted errors that leaves half of what is outside beyond it."""
    share = 0.5 + level / 200 if upper else 0.5 - level / 200
    found = []
    for errors in pooled:
        n = len(errors)
        rank = np.ceil((n + 1) * share) - 1 if upper else np.floor((n + 1) * share) - 1
        found.append(float(errors[int(np.clip(rank, 0, n - 1))]))
    return found
