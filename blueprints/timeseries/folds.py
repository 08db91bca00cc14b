"""All candidates at one moment of the past: a fold of the backtest, or the end of training.

config: the parameters of stage `train`; meta: data/prepared/meta.json.
"""

from typing import Any

import features
import model
import numpy as np
from classical import finished
from dataset import Moments, Series, inputs, targets
from joblib import Parallel, delayed
from tqdm import tqdm

CHUNK = 20  # series per task
Array = np.ndarray


def classical_task(
    histories: list[Array], names: list[str], m: int, horizon: int
) -> dict[str, list[Any]]:
    """Forecasts and states of a few series by every classical candidate."""
    return {name: [model.fit(name, values, m, horizon) for values in histories] for name in names}


def classical(
    series: list[Series], back: int, config: Any, meta: dict[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Forecasts [series, horizon] per candidate, made `back` steps before the end of training.

    Also the states, as arrays with one row per series, named candidate.part.
    """
    wanted = {"seasonal_naive", *config.candidates, *config.combined}  # the first stands in
    names = [name for name in model.CLASSICAL if name in wanted]
    histories = [one.values[: one.length - back] for one in series]
    parts = [histories[i : i + CHUNK] for i in range(0, len(histories), CHUNK)]
    work = Parallel(n_jobs=config.jobs or -1, return_as="generator")
    m, horizon = meta["season_length"], meta["horizon"]
    done = work(delayed(classical_task)(part, names, m, horizon) for part in parts)
    title = f"{back} steps back" if back else "final fit"
    found = list(tqdm(done, desc=title, total=len(parts), unit=f"{CHUNK} series"))
    forecasts, states = {}, {}
    for name in names:
        pairs = [pair for part in found for pair in part[name]]
        forecasts[name] = np.stack([forecast for forecast, _ in pairs])
        for key in pairs[0][1]:
            states[f"{name}.{key}"] = np.concatenate([state[key] for _, state in pairs])
    return forecasts, states


def fitted_global(
    series: list[Series], known: Moments, back: int, config: Any, meta: dict[str, Any]
) -> Any:
    """The global model of what was known `back` steps before the end of training.

    None where there was nothing to learn from.
    """
    rows, base = inputs(series, known, meta)
    values, left = targets(series, known, meta["horizon"])
    usable = (left >= back) & np.isfinite(values)
    if not usable.any():
        return None
    change = features.squash(values[usable]) - base[usable]
    return model.fit_global(rows[usable], change, config)


def predicted(booster: Any, series: list[Series], known: Moments, meta: dict[str, Any]) -> Array:
    """[n, horizon] means of the global model after each moment; NaN without a model."""
    if booster is None:
        return np.full((len(known.series), meta["horizon"]), np.nan)
    rows, base = inputs(series, known, meta)
    change = booster.predict(rows.reshape(-1, rows.shape[2])).reshape(base.shape)
    return features.unsquash(base + change)


def fold(
    series: list[Series],
    known: tuple[Moments, Moments],
    back: int,
    config: Any,
    meta: dict[str, Any],
) -> tuple[dict[str, Array], dict[str, Array], Any]:
    """All candidates `back` steps before the end of training: forecasts, states, global model.

    known: the moments to learn from, and those to forecast from. Series too short for this fold
    have NaN.
    """
    who = [series[i] for i in known[1].series]
    forecasts, states = classical(who, back, config, meta)
    booster = None
    if "global" in {*config.candidates, *config.combined}:
        booster = fitted_global(series, known[0], back, config, meta)
        forecasts["global"] = predicted(booster, series, known[1], meta)
    members = list(config.combined) if "combination" in config.candidates else []
    forecasts = finished(forecasts, known[1].recent, meta["negative"], members)
    whole = {name: np.full((len(series), meta["horizon"]), np.nan) for name in forecasts}
    for name, values in forecasts.items():
        whole[name][known[1].series] = values
    return whole, states, booster
