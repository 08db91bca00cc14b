"""Forecasts of another library on the same histories, for comparison: statsforecast."""

import importlib.util
import warnings

import numpy as np
import pandas as pd
from dataset import Series

Array = np.ndarray


def available() -> bool:
    return importlib.util.find_spec("statsforecast") is not None


def forecasts(
    series: list[Series], season_length: int, horizon: int, jobs: int
) -> dict[str, Array]:
    """[series, horizon] of AutoETS and AutoTheta, all at their defaults."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, AutoTheta, SeasonalNaive

    table = pd.concat(
        pd.DataFrame(
            {"unique_id": one.name, "ds": np.arange(one.length), "y": one.values[: one.length]}
        )
        for one in series
    )
    peers = [AutoETS(season_length), AutoTheta(season_length)]
    spare = SeasonalNaive(season_length)  # for a series that a peer cannot fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = StatsForecast(models=peers, freq=1, n_jobs=jobs or -1, fallback_model=spare)
        found = made.forecast(df=table, h=horizon).sort_values(["unique_id", "ds"])
    order = pd.Index(found["unique_id"].unique()).get_indexer([one.name for one in series])
    return {
        f"statsforecast_{name}": found[column].to_numpy().reshape(-1, horizon)[order]
        for name, column in (("autoets", "AutoETS"), ("autotheta", "AutoTheta"))
    }
