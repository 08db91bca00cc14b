"""What drift, quality and performance mean for forecasts, and the process that watches them.

python monitor.py                        what the log has now -> live/report.html, live/values.json
python monitor.py --every 60 --port 9464 for ever, with /metrics for Prometheus
"""

from pathlib import Path
from typing import Any

import calendars
import numpy as np

from shared import drift
from shared.drift import Estimate

Rows = list[dict[str, Any]]
# name -> what it is; computed from the request log and the truth that arrives later
LIVE_METRICS = {
    "live.mase": "mean absolute scaled error of forecasts, over the steps whose truth has arrived",
    "live.bias": "mean of forecast minus truth, in units of the change from season to season",
    "live.coverage_80": "share of truths inside their 80 % interval, mean over forecasts",
    "live.input_drift": "largest population stability index of the features below, as served, "
    "beyond chance",
    "live.new_series_share": "share of requests for series that training has not seen",
    "live.silent_series_share": "share of the trained series asked for whose newest value is more "
    "than two seasons older than the newest of all",
}
FEATURES = ("change", "spread")  # relative to the level: sizes of series differ by thousands


def features(level: float, change: float, spread: float) -> dict[str, float]:
    """What is kept of a history instead of it: change and spread of the last season, by level."""
    size = max(abs(level), 1e-9)
    return {"change": change / size, "spread": spread / size}


def reference(path: Path, bins: int = 10) -> dict[str, Any]:
    """The profile of the histories in the feature file, the last season's moments of each series.

    Per feature the inner edges of its deciles, the share of moments in each bin, and their number.
    """
    import pandas as pd  # the service imports this file too, and has no pandas at the edge

    table = pd.read_parquet(path, columns=["series_id", "level", *FEATURES]).dropna()
    size = np.maximum(table["level"].abs(), 1e-9)
    profile = {}
    for name in FEATURES:
        values = (table[name] / size).to_numpy()
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        inside = np.searchsorted(edges, values, side="right")
        shares = np.bincount(inside, minlength=len(edges) + 1) / len(values)
        found = {"edges": edges.tolist(), "shares": shares.tolist(), "rows": len(values)}
        profile[name] = found
    series = int(table["series_id"].nunique())
    return {"live_metrics": LIVE_METRICS, "series": series, "profile": profile}


def measure(rows: Rows, usual: dict[str, Any], model: dict[str, Any]) -> dict[str, Estimate]:
    """Metrics of a window of requests. usual: reports/reference.json; model: model.json."""
    apart = drift.distinct(rows, "series_id", *FEATURES)
    columns = {name: [row[name] for row in apart] for name in FEATURES}
    return {
        "live.input_drift": drift.input_drift(columns, usual["profile"]),
        "live.new_series_share": drift.share(row["series_id"] is None for row in rows),
        "live.silent_series_share": drift.share(silent(rows, model)),
    }


def silent(rows: Rows, model: dict[str, Any]) -> np.ndarray:
    """[series] whether each trained series asked for lags behind the newest of them."""
    newest = {row["series_id"]: row["last_observation"] for row in rows if row["series_id"]}
    times = np.array(list(newest.values()), "datetime64[us]")
    steps, _ = calendars.steps(times, model["frequency"])
    return np.asarray(max(steps, default=0) - steps > 2 * model["season_length"])


def judge(rows: Rows) -> dict[str, Estimate]:
    """Metrics of a window of requests whose truth, or some of it, has arrived.

    Errors are over forecasts: the steps of one miss together.
    """
    found: dict[str, list[float]] = {"mase": [], "bias": [], "coverage_80": []}
    told = [row for row in rows if arrived(row)[0]]
    for row in drift.distinct(told, "series_id", "timestamps", "mean"):
        steps, truth = arrived(row)
        miss = np.array(row["mean"])[steps] - truth
        if row["scale"] > 0:  # a constant history has no scale
            found["mase"].append(float(np.abs(miss).mean() / row["scale"]))
            found["bias"].append(float(miss.mean() / row["scale"]))
        if band := row["intervals"].get("80"):
            lower, upper = (np.array(band[side])[steps] for side in ("lower", "upper"))
            found["coverage_80"].append(float(((truth >= lower) & (truth <= upper)).mean()))
    return {f"live.{name}": drift.mean(values) for name, values in found.items()}


def arrived(row: dict[str, Any]) -> tuple[list[int], np.ndarray]:
    """The steps of a forecast, from 0, whose truth has come, and their true values.

    The truth is by timestamp, or a list in the order of the forecast that may end before it.
    """
    told, times = row["truth"], row["timestamps"]
    if not isinstance(told, dict):
        told = dict(zip(times, told, strict=False))
    steps = [i for i, time in enumerate(times) if time in told]
    return steps, np.array([told[times[i]] for i in steps], float)


def doubt(row: dict[str, Any]) -> float:
    """How much the truth of this forecast would tell: the width of its narrowest interval."""
    widths = [np.mean(band["upper"]) - np.mean(band["lower"]) for band in row["intervals"].values()]
    return float(min(widths, default=0.0) / max(row["scale"], 1e-9))


def main() -> None:
    from shared import monitoring  # the service imports this file too, and needs none of it

    with monitoring.watch(__doc__, truth=dict[str, float] | list[float]) as watch:
        for windows in watch.runs():
            for window in windows:
                usual, model = watch.files(window.model)
                if window.labelled:
                    watch.record(window, judge(window.rows))
                else:
                    watch.record(window, measure(window.rows, usual, model))
            watch.queue(doubt)


if __name__ == "__main__":
    main()
