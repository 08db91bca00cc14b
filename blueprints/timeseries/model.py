"""The candidates: sktime's models of single series, and one global model of all series.

`fit` gives a classical model's forecast and, as plain arrays, what `classical.py` needs to forecast
without sktime. The global model is a direct reduction: LightGBM on the rows of features.py, one for
each step ahead, whose text file is its saved form. No pickle anywhere.
"""

import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from classical import CROSTON_SMOOTHING, State
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.croston import Croston
from sktime.forecasting.exp_smoothing import ExponentialSmoothing
from sktime.forecasting.naive import NaiveForecaster
from sktime.forecasting.theta import ThetaForecaster

CLASSICAL = ("seasonal_naive", "holt_winters", "theta", "croston")
NAMES = (*CLASSICAL, "global", "combination")
ESTIMATED_SEASON = 24  # longer seasons start from averages: optimising them takes minutes a series
Array = np.ndarray


def forecaster(name: str, values: Array, season_length: int) -> BaseForecaster:
    """The sktime forecaster for these values; the season is left out below two whole ones."""
    m = season_length if len(values) >= 2 * season_length else 1
    if name == "seasonal_naive":
        return NaiveForecaster(strategy="last", sp=min(season_length, len(values)))
    if name == "croston":
        return Croston(smoothing=CROSTON_SMOOTHING)
    if name == "theta":
        kind = "multiplicative" if (values > 0).all() else "additive"
        return ThetaForecaster(deseasonalize=m > 1, deseasonalize_model=kind, sp=m)
    start = "estimated" if m <= ESTIMATED_SEASON else "heuristic"
    seasonal = {"seasonal": "add", "sp": m} if m > 1 else {}
    return ExponentialSmoothing(
        trend="add", damped_trend=True, initialization_method=start, **seasonal
    )


def fit(name: str, values: Array, season_length: int, horizon: int) -> tuple[Array, State]:
    """[horizon] means and the state of one series, whose arrays have one row.

    NaN means that the model cannot be fitted to these values.
    """
    series, steps = pd.Series(values), np.arange(1, horizon + 1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of optimisers that stop early: the backtest judges them
        try:
            model = forecaster(name, values, season_length)
            model.set_config(remember_data=name == "theta")
            found = model.fit(series, fh=steps).predict().to_numpy(float).ravel()
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            return np.full(horizon, np.nan), unknown(name, season_length)
    return found, state(name, model, values, season_length)


def unknown(name: str, season_length: int) -> State:
    """The state of a model that could not be fitted: its forecasts are NaN, too."""
    keys = {
        "holt_winters": ["level", "trend", "alpha", "beta", "gamma", "phi", "replaced"],
        "theta": ["level", "trend", "alpha", "observations", "multiplied"],
        "croston": ["demand", "interval", "since"],
    }
    found = {key: np.full(1, np.nan) for key in keys.get(name, [])}
    return found if name == "croston" else found | {"season": np.full((1, season_length), np.nan)}


def state(name: str, model: BaseForecaster, values: Array, season_length: int) -> State:
    """What a fitted sktime model knows, as arrays of classical.py."""
    if name == "seasonal_naive":
        return {"season": whole(values[-season_length:], season_length)}
    if name == "croston":
        return {
            "demand": np.array([model._q_last]),
            "interval": np.array([model._a_last]),
            "since": np.array([float(model._p)]),
        }
    inner = model._fitted_forecaster
    level = np.asarray(inner.level)[-1:]
    if name == "holt_winters":
        season, replaced = np.zeros(1), np.zeros(1)
        if inner.model.has_seasonal:
            m, every = inner.model.seasonal_periods, np.asarray(inner.season)
            season, replaced = every[-m:], every[-m - 1 : -m]
        keys = ["smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend"]
        numbers = [np.array([float(inner.params[key] or 0)]) for key in keys]
        found = dict(zip(["alpha", "beta", "gamma", "phi"], np.nan_to_num(numbers), strict=True))
        trend = np.asarray(inner.trend)[-1:]
        found |= {"level": level, "trend": trend, "replaced": replaced}
        return found | {"season": whole(season, season_length)}
    seasonal = model.deseasonalizer_
    multiplied = seasonal is not None and seasonal.model == "multiplicative"
    season = np.zeros(1) if seasonal is None else np.asarray(seasonal.seasonal_)
    return {
        "alpha": np.array([float(model.initial_level_)]),
        "level": level,
        "trend": np.array([float(model.trend_)]),
        "observations": np.array([float(len(values))]),
        "multiplied": np.array([float(multiplied)]),
        "season": whole(np.roll(season, -(len(values) % len(season))), season_length),
    }


def whole(season: Array, season_length: int) -> Array:
    """[1, season_length], a shorter pattern repeated: all series of a data set fit in one array."""
    return np.resize(season, season_length)[None].astype(float)


def fit_global(features: Array, target: Array, config: Any) -> lightgbm.Booster:
    """Least absolute (or, by measure, squared) error on the log scale.

    features: [rows, columns]; target: [rows].
    """
    settings = {
        "objective": {"mase": "regression_l1", "rmsse": "regression_l2"}[config.measure],
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.min_rows_per_leaf,
        "learning_rate": config.learning_rate,
        "num_threads": config.jobs,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    return lightgbm.train(settings, lightgbm.Dataset(features, target), config.trees)


def load_global(folder: Path) -> lightgbm.Booster:
    return lightgbm.Booster(model_file=folder / "global.txt")
