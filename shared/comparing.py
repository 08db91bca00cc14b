"""Is a challenger better than the champion, on records that neither has learnt from?"""

from dataclasses import dataclass

import numpy as np

from shared.audit import Refused

LEAST_RECORDS = 30  # below it a bootstrap interval is too narrow to be trusted
RESAMPLES = 10_000
AT_ONCE = 1_000_000  # records drawn at a time: 8 MB of indices and 8 MB of gains


@dataclass(frozen=True)
class Comparison:
    """How much lower our mean loss is than theirs, its 95 % interval; better when low > 0."""

    gain: float
    low: float
    high: float
    better: bool


def compare(ours: np.ndarray, theirs: np.ndarray, seed: int) -> Comparison:
    """Paired bootstrap of the mean of `theirs - ours`.

    ours, theirs: [n] losses (lower is better) of challenger and champion on the same n records.
    Raises Refused below LEAST_RECORDS records, ValueError when the two do not fit together.
    """
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise ValueError(f"[n] losses of the same n records, not {ours.shape} and {theirs.shape}")
    if len(ours) < LEAST_RECORDS:
        raise Refused(f"{len(ours)} records to compare on, at least {LEAST_RECORDS} are needed")
    gains = theirs.astype(float) - ours
    if not np.isfinite(gains).all():
        raise ValueError("losses are not finite")
    generator, at_once = np.random.default_rng(seed), max(1, AT_ONCE // len(gains))
    means = np.empty(RESAMPLES)
    for first in range(0, RESAMPLES, at_once):
        part = means[first : first + at_once]
        part[:] = gains[generator.integers(0, len(gains), (len(part), len(gains)))].mean(axis=1)
    low, high = (float(edge) for edge in np.quantile(means, [0.025, 0.975]))
    return Comparison(float(gains.mean()), low, high, low > 0)
