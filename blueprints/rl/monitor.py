"""What drift, quality and performance mean for a policy: live metrics by name, their profile."""

from typing import Any

import numpy as np

Array = np.ndarray

# name -> what it is; computed from the request log and the prices that arrive later
LIVE_METRICS = {
    "live.share_of_optimum": "profit over that of perfect foresight on the same prices",
    "live.reward_over_baseline": "profit over that of re-planning with yesterday's prices",
    "live.guarded_share": "share of answers in which a guard rail replaced or cut the action",
    "live.outside_share": "share of observations with a number outside the training range",
    "live.input_drift": "largest population stability index of the observed numbers, as served",
    "live.action_drift": "distance of the mix of actions from that of the test period",
}


def outside(observations: Array, profile: dict[str, Any]) -> Array:
    """[n] is a number of the observation beyond what training saw, by more than a tenth of it?"""
    low, high = np.array(profile["low"]), np.array(profile["high"])
    margin = 0.1 * (high - low) + 1e-6
    return ((observations < low - margin) | (observations > high + margin)).any(axis=1)


def reference(observations: Array, rewards: Array, bins: int = 10) -> dict[str, Any]:
    """The profile of what training sees: of each number the range, inner edges of its deciles and
    the share in each bin; of the reward its quantiles."""
    numbers = []
    for values in observations.T:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        inside = np.searchsorted(edges, values, side="right")
        shares = np.bincount(inside, minlength=len(edges) + 1) / len(values)
        numbers.append({"edges": edges.tolist(), "shares": shares.tolist()})
    profile = {
        "low": observations.min(axis=0).tolist(),
        "high": observations.max(axis=0).tolist(),
        "numbers": numbers,
        "random_reward_quantiles": np.quantile(rewards, [0, 0.05, 0.5, 0.95, 1]).tolist(),
    }
    return {"live_metrics": LIVE_METRICS, "profile": profile}
