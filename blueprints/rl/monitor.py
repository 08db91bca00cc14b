"""What drift, quality and performance mean for a policy, and the process that watches them.

python monitor.py                        what the log has now -> live/report.html, live/values.json
python monitor.py --every 60 --port 9464 for ever, with /metrics for Prometheus
"""

from collections.abc import Mapping
from typing import Any

import battery as physics
import hindsight
import numpy as np
from features import middle

from shared import drift
from shared.drift import Estimate

Array = np.ndarray
Rows = list[dict[str, Any]]
# name -> what it is; computed from the request log and the prices that arrive later
LIVE_METRICS = {
    "live.share_of_optimum": "profit over that of perfect foresight on the same prices",
    "live.reward_over_baseline": "profit over that of re-planning with yesterday's prices",
    "live.mean_reward": "mean reward of a step, in an environment without prices",
    "live.guarded_share": "share of answers that a guard rail made the safe action, or rest",
    "live.outside_share": "share of observations with a number outside the training range",
    "live.input_drift": "largest population stability index against training, beyond chance",
    "live.action_drift": "the same of the mix of actions, against that of the test period",
}
BINS = 5  # few: neighbouring hours are alike, 500 of them say little of the tails
# From a third to three times training's prices: no year is like the one before, and all else that a
# policy sees is relative to the level of the week.
USUAL_LEVEL = np.array([-np.log(3), np.log(3)])
OF_PRICES = {
    "live.share_of_optimum": hindsight.share_of_optimum,
    "live.reward_over_baseline": hindsight.over_baseline,
}
MOST = 32  # numbers kept of an observation without prices


def outside(observations: Array, profile: dict[str, Any]) -> Array:
    """[n] is a number of the observation beyond what training saw, by more than a tenth of it?"""
    low, high = np.array(profile["low"]), np.array(profile["high"])
    margin = 0.1 * (high - low) + 1e-6
    return ((observations < low - margin) | (observations > high + margin)).any(axis=1)


def features(weeks: Array, usual: float) -> dict[str, Array]:
    """What is watched of [n, 7 * day] prices, oldest first, the present one known: [n] each.

    level: log of the week's typical price over `usual`, training's; price: the present one, and
    step: its distance from the last, both in typical prices, squashed.
    """
    typical = np.maximum(middle(np.abs(weeks)), usual / 6)
    price, step = weeks[:, -1] / typical, (weeks[:, -1] - weeks[:, -2]) / typical
    return {"level": np.log(typical / usual), "price": np.arcsinh(price), "step": np.arcsinh(step)}


def seen(prices: Array, usual: float) -> dict[str, float | None]:
    """The features of one week for the request log; none where the present price is not known."""
    found = features(prices[None], usual) if np.isfinite(prices[-1]) else {}
    one = {name: float(value[0]) for name, value in found.items()}
    return {key: round(value, 4) if np.isfinite(value) else None for key, value in one.items()}


def numbered(observations: Array) -> dict[str, Array]:
    """The columns of [n, columns] by their number, as many of them as are watched."""
    return {str(i): values for i, values in enumerate(observations.T[:MOST])}


def shares(columns: Mapping[str, Array]) -> dict[str, dict[str, Any]]:
    """Of each: the inner edges of its bins, the share of values in each bin, and their number."""
    found = {}
    for name, values in columns.items():
        quantiles = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
        edges = USUAL_LEVEL if name == "level" else np.unique(quantiles)
        inside = np.searchsorted(edges, values, side="right")
        part = np.bincount(inside, minlength=len(edges) + 1) / len(values)
        found[name] = {"edges": edges.tolist(), "shares": part.tolist(), "rows": len(values)}
    return found


def reference(observations: Array, rewards: Array, columns: Mapping[str, Array]) -> dict[str, Any]:
    """The profile of what training sees: the range of each number of an observation, the shares of
    what is watched, and quantiles of the reward of random play."""
    profile = {
        "low": observations.min(axis=0).tolist(),
        "high": observations.max(axis=0).tolist(),
        "numbers": shares(columns),
        "random_reward_quantiles": np.quantile(rewards, [0, 0.05, 0.5, 0.95, 1]).tolist(),
    }
    return {"live_metrics": LIVE_METRICS, "profile": profile}


def measure(rows: Rows, usual: dict[str, Any], model: dict[str, Any]) -> dict[str, Estimate]:
    """Metrics of a window of requests. usual: reports/reference.json; model: model.json."""
    numbers, changed = model.get("numbers") or usual["profile"]["numbers"], float("nan")
    columns = {name: [row.get("seen", {}).get(name) for row in rows] for name in numbers}
    if mix := model.get("action_mix"):
        taken = drift.counted(_action(row, model) for row in rows)
        changed = drift.mix_drift(taken, mix, model["action_rows"])
    return {
        "live.guarded_share": drift.share(_guarded(row) for row in rows),
        "live.outside_share": drift.share("unfamiliar" in row["guards"] for row in rows),
        "live.input_drift": drift.input_drift(columns, numbers),
        "live.action_drift": Estimate(changed),
    }


def _guarded(row: dict[str, Any]) -> bool:
    """`limits` is none: a policy tells a full battery to charge every day, and means rest."""
    return row["source"] == "safe" or "charge" in row["guards"]


def _action(row: dict[str, Any], model: dict[str, Any]) -> str:
    """The number of the action, as in `action_mix`."""
    highest = (model["env"]["actions"] or 1) - 1
    return str(round((row["share"] + 1) / 2 * highest) if "share" in row else row["action"])


def judge(rows: Rows, model: dict[str, Any]) -> dict[str, Estimate]:
    """Metrics of a window of answers whose prices, or rewards, have arrived."""
    if model["env"]["id"] != "battery":
        unknown = dict.fromkeys(OF_PRICES, Estimate(float("nan")))
        return unknown | {"live.mean_reward": drift.mean(row["truth"] for row in rows)}
    days = hindsight.of_window(physics.build(model["env"], 24 / model["day"]), model["day"], rows)
    return {name: hindsight.jackknife(sums, days) for name, sums in OF_PRICES.items()}


def doubt(row: dict[str, Any]) -> float:
    """Answers in which guards acted come first. Prices come by themselves."""
    return float(len(set(row["guards"]) - {"limits"}))


def main() -> None:
    from shared import monitoring  # the service imports this file too, and needs none of it

    with monitoring.watch(__doc__, truth=float) as watch:
        for windows in watch.runs():
            for window in windows:
                usual, model = watch.files(window.model)
                if window.labelled:
                    watch.record(window, judge(window.rows, model))
                else:
                    watch.record(window, measure(window.rows, usual, model))
            watch.queue(doubt)


if __name__ == "__main__":
    main()
