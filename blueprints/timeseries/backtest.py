"""Errors of the backtest: where it looks back from, scaled errors, the choice of the model."""

from typing import Any

import features
import numpy as np
from dataset import Series, first
from intervals import quantiles

Array = np.ndarray
Folds = dict[int, dict[str, Array]]  # steps back -> candidate -> [series, horizon]


def scaled(series: list[Series], forecasts: Array, back: int, m: int, power: int) -> Array:
    """[series] mean of the scaled errors' `power`; NaN where nothing is to be compared.

    Values that were missing do not count, nor do constant histories, whose unit would be 0.
    """
    found = np.full(len(series), np.nan)
    for i, one in enumerate(series):
        begin = one.length - back
        if begin < 2:
            continue
        real = slice(begin, begin + forecasts.shape[1])
        counted = ~one.filled[real] & np.isfinite(forecasts[i])
        unit = features.naive_error(one.values[:begin], m)
        if counted.any() and unit > 0:
            miss = np.abs(one.values[real] - forecasts[i])[counted] / unit
            found[i] = (miss**power).mean() ** (1 / power)
    return found


def table(
    series: list[Series], folds: Folds, meta: dict[str, Any], measure: str
) -> dict[str, Array]:
    """candidate -> scaled errors [folds, series]; where it could not be fitted, last season's."""
    m, power = meta["season_length"], {"mase": 1, "rmsse": 2}[measure]
    errors = {}
    for name in next(iter(folds.values())):
        rows = [scaled(series, found[name], back, m, power) for back, found in folds.items()]
        errors[name] = np.stack(rows)
    spare = errors["seasonal_naive"]
    return {name: np.where(np.isfinite(found), found, spare) for name, found in errors.items()}


def choose(series: list[Series], folds: Folds, config: Any, meta: dict[str, Any]) -> dict[str, Any]:
    """The model for all series, or one for each where that pays, and what the service needs of it.

    Whether it pays is measured on the newest fold, with choices made on the older ones.
    """
    names, errors = list(config.candidates), table(series, folds, meta, config.measure)
    of = np.stack([errors[name] for name in names])  # [candidates, folds, series]
    if not np.isfinite(of).any():
        raise SystemExit("train: no series varies, so no model is better than another")
    best = int(np.nanmean(of, axis=(1, 2)).argmin())
    own, (gain, sure) = own_choice(of), gain_per_series(of)
    per_series = sure and gain >= config.per_series
    index = own if per_series else np.full(len(series), best)
    chosen = [names[i] for i in index]
    rows = [
        {"steps_back": back, "candidate": name, "error": float(np.nanmean(errors[name][i]))}
        for i, back in enumerate(folds)
        for name in names
    ]
    return {
        "chosen": "per series" if per_series else names[best],
        "choices": chosen,
        "per_series_gain": gain,
        "backtest_error": float(np.nanmean(np.take_along_axis(of, index[None, None], axis=0))),
        "backtest": rows,
        "candidates": names,
        "combined": list(config.combined),
        "levels": list(config.levels),
        "quantiles": quantiles(misses(series, folds, chosen, meta), config.levels),
    }


def own_choice(errors: Array) -> Array:
    """[series] index of the candidate of least mean error; errors [candidates, folds, series].

    A series without errors gets the candidate that is best for all.
    """
    known = np.isfinite(errors)
    mean = np.where(known, errors, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    mean = np.where(known.any(axis=1), mean, np.inf)
    common = int(np.nanmean(errors, axis=(1, 2)).argmin())
    return np.where(np.isfinite(mean).any(axis=0), mean.argmin(axis=0), common)


def gain_per_series(errors: Array) -> tuple[float, bool]:
    """Share of the newest fold's error that choices per series on the older folds would have saved;
    and whether the mean saving is above two standard errors: a few series prove nothing.
    """
    if errors.shape[1] < 2:
        return 0.0, False
    own, common = own_choice(errors[:, :-1]), np.nanmean(errors[:, :-1], axis=(1, 2)).argmin()
    picked = np.take_along_axis(errors[:, -1], own[None], axis=0)[0]
    saved = errors[int(common), -1] - picked
    saved = saved[np.isfinite(saved)]
    if len(saved) < 2:
        return 0.0, False
    sure = saved.mean() > 2 * saved.std(ddof=1) / np.sqrt(len(saved))
    return float(saved.mean() / np.nanmean(errors[int(common), -1])), bool(sure)


def misses(
    series: list[Series], folds: Folds, chosen: list[str], meta: dict[str, Any]
) -> list[list[float]]:
    """Per step ahead, the errors of the chosen models in all folds, in units of the scale.

    What stood still before a fold has no scale: if it moves again, its error is of any size.
    """
    m, horizon, stood = meta["season_length"], meta["horizon"], 0
    errors: list[list[float]] = [[] for _ in range(horizon)]
    for back, found in folds.items():
        for i, one in enumerate(series):
            begin, forecast = one.length - back, found[chosen[i]][i]
            if begin < first(meta) or not np.isfinite(forecast).any():
                continue
            recent = features.origins(one.values[:begin], m, np.array([begin]))["recent"]
            if features.still(recent)[0]:
                stood += 1
                continue
            unit = float(features.scale(recent, m)[0])
            real = slice(begin, begin + horizon)
            error = (one.values[real] - forecast) / unit
            for step in np.flatnonzero(~one.filled[real] & np.isfinite(error)):
                errors[step].append(float(error[step]))
    if stood and not any(errors):
        raise SystemExit(
            f"train: nothing tells how wide intervals must be: in every fold all series had not "
            f"moved for {features.SEASONS} seasons; raise train.folds to look farther back, or "
            "leave such series out"
        )
    return errors
