"""Scores of forecasts: scaled errors, intervals; values that were missing do not count.

Arrays are [series, horizon]; `unit` is the mean error [series] of the seasonal naive forecast
inside the history (Hyndman and Koehler 2006), `unit_squared` the mean of its square.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from dataset import Series
from features import naive_error

Array = np.ndarray
Intervals = dict[str, tuple[Array, Array]]


class Held(NamedTuple):
    """Forecasts of the held-out values, and what they are scored by."""

    mean: Array
    real: Array
    unit: Array
    unit_squared: Array
    intervals: Intervals


def truth(series: list[Series], horizon: int) -> Array:
    """The held-out values, NaN where they were missing and beyond the last one."""
    ends = [slice(one.length, one.length + horizon) for one in series]
    pairs = zip(series, ends, strict=True)
    found = [np.where(one.filled[end], np.nan, one.values[end]) for one, end in pairs]
    if np.isnan(found).all():
        raise SystemExit("evaluate: every held-out value is missing; nothing can be scored")
    return np.stack([np.pad(one, (0, horizon - len(one)), constant_values=np.nan) for one in found])


def units(series: list[Series], m: int) -> tuple[Array, Array]:
    """(unit, unit_squared) [series]; NaN for a constant history, which has no scale."""
    found = np.array([naive_error(one.values[: one.length], m) for one in series])
    histories = [one.values[: one.length] for one in series]
    squares = np.array([float(((v[m:] - v[:-m]) ** 2).mean()) for v in histories])
    return np.where(found > 0, found, np.nan), np.where(squares > 0, squares, np.nan)


def errors(mean: Array, real: Array, unit: Array, unit_squared: Array) -> dict[str, Array]:
    """Per series [n]: mase, rmsse, smape (per cent), bias (in units)."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # a series without held-out values stays NaN
        miss = mean - real
        symmetric = 200 * np.abs(miss) / (np.abs(mean) + np.abs(real))
        return {
            "mase": np.nanmean(np.abs(miss), axis=1) / unit,
            "rmsse": np.sqrt(np.nanmean(miss**2, axis=1) / unit_squared),
            "smape": np.nanmean(np.where(miss == 0, 0, symmetric), axis=1),
            "bias": np.nanmean(miss, axis=1) / unit,
        }


def of_intervals(
    intervals: Intervals, mean: Array, real: Array, unit: Array
) -> dict[str, float | None]:
    """coverage_L and width_L (in units) per level, and the mean pinball loss over all quantiles."""
    found: dict[str, float | None] = {}
    losses = [pinball(mean, real, 0.5) / unit[:, None]]
    for level, (lower, upper) in intervals.items():
        inside = np.where(np.isnan(real + lower), np.nan, (real >= lower) & (real <= upper))
        found[f"coverage_{level}"] = mean_of(inside)
        found[f"width_{level}"] = mean_of((upper - lower) / unit[:, None])
        outside = (100 - float(level)) / 200
        losses.append(pinball(lower, real, outside) / unit[:, None])
        losses.append(pinball(upper, real, 1 - outside) / unit[:, None])
    return found | {"pinball": mean_of(np.stack(losses))}


def pinball(quantile: Array, real: Array, share: float) -> Array:
    """The loss whose minimum is the quantile of that share."""
    return np.maximum(share * (real - quantile), (share - 1) * (real - quantile))


def summary(per_series: dict[str, Array]) -> dict[str, float | None]:
    return {name: mean_of(values) for name, values in per_series.items()}


def scores(held: Held, rows: Any = slice(None), steps: Any = slice(None)) -> dict[str, Any]:
    """Every score over some series and steps, all by default; None where nothing is known."""

    def part(values: Array) -> Array:
        return values[rows][:, steps]

    mean, real, unit = part(held.mean), part(held.real), held.unit[rows]
    bands = {level: (part(low), part(high)) for level, (low, high) in held.intervals.items()}
    per_series = errors(mean, real, unit, held.unit_squared[rows])
    return summary(per_series) | of_intervals(bands, mean, real, unit)


def interval_of_mean(values: Array, seed: int, rounds: int = 1000) -> list[float]:
    """95 % bootstrap interval of the mean over series."""
    known = values[np.isfinite(values)]
    drawn = np.random.default_rng(seed).integers(0, len(known), (rounds, len(known)))
    return [float(x) for x in np.quantile(known[drawn].mean(axis=1), [0.025, 0.975])]


def mean_of(values: Array) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def by_horizon(held: Held) -> list[dict[str, Any]]:
    """The scores of each step ahead."""
    return [{"step": i + 1} | scores(held, steps=[i]) for i in range(held.mean.shape[1])]
