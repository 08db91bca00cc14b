"""What drift, quality and performance mean for forecasts: live metrics by name, their profile."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# name -> what it is; computed from the request log and the truth that arrives later
LIVE_METRICS = {
    "live.mase": "mean absolute scaled error of forecasts whose truth has arrived",
    "live.bias": "mean of forecast minus truth, in units of the change from season to season",
    "live.coverage_80": "share of truths inside their 80 % interval",
    "live.input_drift": "largest population stability index of the features below, as served",
    "live.new_series_share": "share of requests for series that training has not seen",
    "live.silent_series_share": "share of trained series without a new value for two seasons",
}
FEATURES = ("change", "spread")  # relative to the level: sizes of series differ by thousands


def features(level: float, change: float, spread: float) -> dict[str, float]:
    """What is kept of a history instead of it: change and spread of the last season, by level."""
    size = max(abs(level), 1e-9)
    return {"change": change / size, "spread": spread / size}


def reference(path: Path, bins: int = 10) -> dict[str, Any]:
    """The profile of the histories in the feature file, the last season's moments of each series.

    Per feature the inner edges of its deciles, and the share of moments in each bin.
    """
    table = pd.read_parquet(path, columns=["series_id", "level", *FEATURES]).dropna()
    size = np.maximum(table["level"].abs(), 1e-9)
    profile = {}
    for name in FEATURES:
        values = (table[name] / size).to_numpy()
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        inside = np.searchsorted(edges, values, side="right")
        shares = np.bincount(inside, minlength=len(edges) + 1) / len(values)
        profile[name] = {"edges": edges.tolist(), "shares": shares.tolist()}
    series = int(table["series_id"].nunique())
    return {"live_metrics": LIVE_METRICS, "series": series, "profile": profile}
