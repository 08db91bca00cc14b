"""A single series, for `classical`: the pattern of its season, and what its history leaves behind.

It goes through the history in plain floats, as `classical.advance` does with arrays: a request by
history takes hundreds of steps, and an array of one element costs twenty times a float.
"""

import numpy as np

Array = np.ndarray
State = dict[str, Array]
CROSTON_SMOOTHING = 0.1


def through(name: str, state: State, values: Array) -> State:
    """The state of one series after [t] more values have become known, one after the other."""
    return RECURSIONS[name](state, np.asarray(values, float).tolist())


def holt_winters(state: State, values: list[float]) -> State:
    """Damped trend, added season; `replaced` is the newest place as it was before."""
    alpha, beta, gamma, phi, level, trend = _floats(
        state, "alpha", "beta", "gamma", "phi", "level", "trend"
    )
    season, m = state["season"][0].tolist(), state["season"].shape[1]
    first = season[-1]
    for i, value in enumerate(values):
        first, before, moved = season[i % m], level, phi * trend
        level = alpha * (value - first) + (1 - alpha) * (before + moved)
        season[i % m] = gamma * (value - before - moved) + (1 - gamma) * first
        trend = beta * (level - before) + (1 - beta) * moved
    more = {"level": level, "trend": trend}
    if values:
        more["replaced"] = first
    return state | _arrays(more) | {"season": np.roll(season, -(len(values) % m))[None]}


def theta(state: State, values: list[float]) -> State:
    """Exponential smoothing of what the season leaves; the pattern only turns."""
    alpha, level, observations = _floats(state, "alpha", "level", "observations")
    season, m = state["season"][0].tolist(), state["season"].shape[1]
    multiplied = bool(state["multiplied"][0] > 0)
    for i, value in enumerate(values):
        first = season[i % m]
        if multiplied:
            value = value / first if first else float("nan")
        else:
            value -= first
        level = alpha * value + (1 - alpha) * level
    more = {"level": level, "observations": observations + len(values)}
    return state | _arrays(more) | {"season": np.roll(season, -(len(values) % m))[None]}


def croston(state: State, values: list[float]) -> State:
    """Demands and the steps between them, each smoothed when there is a demand."""
    demand, interval, since = _floats(state, "demand", "interval", "since")
    keep = 1 - CROSTON_SMOOTHING
    for value in values:
        if value <= 0:
            since += 1
            continue
        new = demand <= 0  # the first demand of all
        demand, interval = (
            value if new else CROSTON_SMOOTHING * value + keep * demand,
            since if new else CROSTON_SMOOTHING * since + keep * interval,
        )
        since = 1.0
    return state | _arrays({"demand": demand, "interval": interval, "since": since})


def seasonal_means(values: Array, m: int, multiplied: bool) -> Array:
    """[m] pattern of the season by classical decomposition; the first value's place comes first."""
    if m == 1:
        return np.full(1, 1.0 if multiplied else 0.0)
    weights = np.ones(m) if m % 2 else np.r_[0.5, np.ones(m - 1), 0.5]
    trend = np.convolve(values, weights / m, mode="valid")
    start = len(weights) // 2
    middle = values[start : start + len(trend)]
    ratio = middle / trend if multiplied else middle - trend
    places = (start + np.arange(len(ratio))) % m
    means = np.array([ratio[places == place].mean() for place in range(m)])
    return means / means.mean() if multiplied else means - means.mean()


def _floats(state: State, *names: str) -> list[float]:
    return [float(state[name][0]) for name in names]


def _arrays(values: dict[str, float]) -> State:
    return {name: np.array([value]) for name, value in values.items()}


RECURSIONS = {"holt_winters": holt_winters, "theta": theta, "croston": croston}
