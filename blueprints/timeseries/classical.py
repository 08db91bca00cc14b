"""Forecasts from the plain arrays that fitted classical models leave behind; needs numpy only.

A state is a dict of arrays with one row per series. `forecast` looks ahead from it, `advance` takes
in one more value of each series, and `begin` makes it from a history alone, with smoothing
parameters learnt on other series. The formulas are those of sktime and statsmodels; stage `export`
compares both for every series.
"""

import warnings

import features
import numpy as np
import single

Array = np.ndarray
State = dict[str, Array]
PARAMETERS = {"holt_winters": ("alpha", "beta", "gamma", "phi"), "theta": ("alpha",)}
CROSTON_SMOOTHING = single.CROSTON_SMOOTHING


def forecast(name: str, state: State, horizon: int) -> Array:
    """[series, horizon] means from a state, which is not changed."""
    steps = np.arange(1, horizon + 1)
    if name == "croston":
        return np.repeat((state["demand"] / state["interval"])[:, None], horizon, axis=1)
    season = state["season"]
    if name == "holt_winters":  # statsmodels forecasts the newest place as it was before
        season = np.column_stack([season[:, :-1], state["replaced"]])
    season = season[:, (steps - 1) % season.shape[1]]
    if name == "seasonal_naive":
        return season
    if name == "holt_winters":
        damped = np.cumsum(state["phi"][:, None] ** steps, axis=1)
        return state["level"][:, None] + damped * state["trend"][:, None] + season
    alpha, n = state["alpha"], state["observations"]
    with np.errstate(divide="ignore", invalid="ignore"):
        past = np.where(np.isclose(alpha, 0), 0, (1 - (1 - alpha) ** n) / alpha)
    line = state["level"][:, None] + state["trend"][:, None] * (steps + past[:, None])
    return np.where(state["multiplied"][:, None] > 0, line * season, line + season)


def advance(name: str, state: State, value: Array) -> State:
    """The state after one more value [series] has become known."""
    if name == "croston":
        some, new = value > 0, dict(state)
        for key, seen in (("demand", value), ("interval", state["since"])):
            smooth = CROSTON_SMOOTHING * seen + (1 - CROSTON_SMOOTHING) * state[key]
            smooth = np.where(state["demand"] <= 0, seen, smooth)  # the first demand of all
            new[key] = np.where(some, smooth, state[key])
        return new | {"since": np.where(some, 1.0, state["since"] + 1)}
    first, later = state["season"][:, 0], state["season"][:, 1:]
    if name == "seasonal_naive":
        return {"season": np.column_stack([later, value])}
    if name == "holt_winters":
        alpha, beta, gamma = state["alpha"], state["beta"], state["gamma"]
        before, moved = state["level"], state["phi"] * state["trend"]
        level = alpha * (value - first) + (1 - alpha) * (before + moved)
        last = gamma * (value - before - moved) + (1 - gamma) * first
        trend = beta * (level - before) + (1 - beta) * moved
        more = {"level": level, "trend": trend, "replaced": first}
        return state | more | {"season": np.column_stack([later, last])}
    with np.errstate(divide="ignore", invalid="ignore"):  # an added pattern may have zeros
        plain = np.where(state["multiplied"] > 0, value / first, value - first)
    level = state["alpha"] * plain + (1 - state["alpha"]) * state["level"]
    more = {"level": level, "observations": state["observations"] + 1}
    return state | more | {"season": np.column_stack([later, first])}


def updated(name: str, state: State, recent: Array, new: Array) -> State:
    """The state with the `new` [series] latest values of `recent` [series, t] taken in, newest
    first; no more than there are, and then the season is turned to the right place before.
    """
    skipped, new = np.maximum(new - recent.shape[1], 0), np.minimum(new, recent.shape[1])
    if "season" in state:
        m = state["season"].shape[1]
        places = (np.arange(m) + skipped[:, None]) % m
        state = state | {"season": np.take_along_axis(state["season"], places, axis=1)}
    if "observations" in state:
        state = state | {"observations": state["observations"] + skipped}
    for back in range(int(new.max(initial=0)), 0, -1):
        later = advance(name, state, recent[:, back - 1])
        due = new >= back
        if due.all():
            state = later
            continue
        for key, values in later.items():
            state = state | {
                key: np.where(due if values.ndim == 1 else due[:, None], values, state[key])
            }
    return state


def begin(name: str, history: Array, season_length: int, parameters: dict[str, float]) -> State:
    """The state of one series [t] that no model was fitted to; `parameters` from PARAMETERS."""
    m = season_length if len(history) >= 2 * season_length else 1
    given = {key: np.array([value]) for key, value in parameters.items()}
    if name == "seasonal_naive":
        m = min(season_length, len(history))
        return {"season": history[None, -m:]}
    if name == "croston":
        first = int(np.argmax(history > 0))
        state = {"demand": history[first : first + 1], "interval": np.array([1.0 + first])}
        return single.through(name, state | {"since": np.array([1.0])}, history)
    if name == "holt_winters":
        trend = (history[m : 2 * m].mean() - history[:m].mean()) / m if m > 1 else 0.0
        season = history[:m] - history[:m].mean() if m > 1 else np.zeros(1)
        state = {"level": history[:m].mean(keepdims=True), "trend": np.array([trend])}
        return single.through(
            name, state | given | {"season": season[None]}, history[m if m > 1 else 1 :]
        )
    multiplied = bool((history > 0).all()) and m > 1
    season = single.seasonal_means(history, m, multiplied)
    whole = np.resize(season, len(history))
    plain = history / whole if multiplied else history - whole
    slope = np.polyfit(np.arange(len(plain)), plain, 1)[0]
    state = {
        "level": plain[:1],
        "trend": np.array([slope / 2]),
        "observations": np.array([1.0]),
        "season": np.roll(season, -1)[None],
        "multiplied": np.array([float(multiplied)]),
    }
    return single.through(name, state | given, history[1:])


def finished(
    forecasts: dict[str, Array], recent: Array, negative: bool, members: list[str]
) -> dict[str, Array]:
    """Candidates [series, horizon] as they are judged and served, with `combination` of `members`.

    Nothing is below zero unless `negative`. What has not moved in all of `recent` [series, t] stays
    where it is: such are mostly products that nobody sells any more, which Croston does not notice.
    """
    floor = -np.inf if negative else 0.0
    still = features.still(recent)
    found = {
        name: np.where(still[:, None], recent[:, :1], np.maximum(values, floor))
        for name, values in forecasts.items()
    }
    if members:
        found["combination"] = combined(found, members)
    return found


def combined(forecasts: dict[str, Array], names: list[str]) -> Array:
    """The median of several candidates' forecasts, without those that could not be fitted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a step that no candidate knows stays NaN
        return np.asarray(np.nanmedian([forecasts[name] for name in names], axis=0))
