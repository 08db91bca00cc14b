"""Measures of a window of live records, each with its error, so that chance is not taken for drift.

A key result is missed by a window only if its metric is beyond the target by more than CERTAIN
standard errors: half of all windows would be below a target that just holds.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

CERTAIN = 2.0
FALSE_ALARM = 0.001  # of all features of a window together


class Estimate(NamedTuple):
    """A metric and its standard error, in the metric's own unit."""

    value: float
    error: float = 0.0


def share(hits: Iterable[bool]) -> Estimate:
    """The share of true ones and its error (with one more of each, so that none is certain)."""
    found = np.asarray(list(hits), bool)
    if not len(found):
        return Estimate(math.nan)
    smooth = (found.sum() + 1) / (len(found) + 2)
    return Estimate(float(found.mean()), math.sqrt(smooth * (1 - smooth) / len(found)))


def mean(values: Iterable[float]) -> Estimate:
    found = np.asarray(list(values), float)
    found = found[np.isfinite(found)]
    if len(found) < 2:
        return Estimate(float(found[0]) if len(found) else math.nan, math.inf)
    return Estimate(float(found.mean()), float(found.std(ddof=1)) / math.sqrt(len(found)))


def input_drift(columns: Mapping[str, Iterable[float]], profile: Mapping[str, Any]) -> Estimate:
    """The largest population stability index of several features, beyond what chance gives.

    profile: per feature the inner `edges` of its bins, the `shares` of the reference in them, and
    its number of `rows`.
    """
    allowed = FALSE_ALARM / max(len(columns), 1)
    found = []
    for name, values in columns.items():
        edges, shares, rows = (profile[name][key] for key in ("edges", "shares", "rows"))
        finite = np.asarray(list(values), float)
        finite = finite[np.isfinite(finite)]
        counts = np.bincount(np.searchsorted(edges, finite, side="right"), minlength=len(shares))
        found.append(stability(counts, np.asarray(shares), rows, allowed))
    return Estimate(largest(found))


def largest(values: Iterable[float]) -> float:
    """Of those known: the NaN of a feature without a value would hide others, by its place."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def of_one(row: Mapping[str, Any], usual: Mapping[str, Any], model: Mapping[str, Any]) -> float:
    """How far a single record lies from the reference: the largest of what its features say.

    Of each feature with a profile the distance to the nearest of its outermost edges, in their
    distance from each other; 0 between them, where most of the reference lies.
    usual: reports/reference.json; model: model.json. A record has its features under their names,
    in `seen`, or as `component_i` of its `embedding`.
    """
    profiles = {**usual["profile"], **usual["profile"].get("numbers", {})}
    profiles |= {**model.get("numbers", {}), **model.get("embedding", {})}
    seen = {f"component_{i}": one for i, one in enumerate(row.get("embedding", ()), 1)}
    seen = {**row, **row.get("seen", {}), **seen}
    found = [0.0]
    for name, profile in profiles.items():
        value, edges = seen.get(name), "edges" in profile and profile["edges"]
        if edges and isinstance(value, int | float) and math.isfinite(value):
            width = edges[-1] - edges[0] or abs(edges[0]) or 1.0
            found.append(max(edges[0] - value, value - edges[-1]) / width)
    return max(found)


def distinct(rows: Iterable[Mapping[str, Any]], *names: str) -> list[Mapping[str, Any]]:
    """The last row of each combination of these fields.

    As far as chance goes, a question that came again with the same answer says nothing new.
    """
    return list({repr([row.get(name) for name in names]): row for row in rows}.values())


def mix_drift(found: Mapping[str, int], usual: Mapping[str, float], rows: int) -> float:
    """The same for categories: counts of a window against the reference's shares."""
    names = sorted({*found, *usual})
    counts = np.array([found.get(name, 0) for name in names])
    shares = np.array([usual.get(name, 0.0) for name in names])
    return stability(counts, shares, rows, FALSE_ALARM)


def stability(counts: np.ndarray, shares: np.ndarray, rows: int, allowed: float) -> float:
    """Population stability index of bins, less what chance exceeds with probability `allowed`.

    Without drift the index is about chi-square of (bins - 1) degrees times (1/n + 1/rows)
    (Yurdakul 2018). counts [bins] of the window, shares [bins] of the reference of `rows` rows.
    Below zero is zero; NaN where the window is empty.
    """
    number = int(counts.sum())
    if not number:
        return math.nan
    ours = (counts + 0.5) / (number + 0.5 * len(counts))  # no bin is empty for certain
    theirs = (shares * rows + 0.5) / (shares.sum() * rows + 0.5 * len(shares))
    index = float(((ours - theirs) * np.log(ours / theirs)).sum())
    chance = chi_square(1 - allowed, max(len(counts) - 1, 1)) * (1 / number + 1 / rows)
    return max(0.0, index - chance)


def chi_square(probability: float, degrees: int) -> float:
    """Quantile of the chi-square distribution; no scipy in a service for it (Wilson and Hilferty
    1931). In the upper tail within 4 % from three degrees on, above the truth."""
    spread = 2 / (9 * degrees)
    return float(
        degrees * (1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)) ** 3
    )


def counted(answers: Iterable[str]) -> dict[str, int]:
    return dict(Counter(answers))
