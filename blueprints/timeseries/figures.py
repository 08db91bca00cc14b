"""Plots of the held-out forecasts: some series with their intervals, errors by step."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dataset import Series
from matplotlib.figure import Figure

Array = np.ndarray
PLOTS = Path("plots")


def save(figure: Figure, name: str) -> None:
    """A PNG without a date, so that two runs give the same bytes."""
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / name, dpi=100, bbox_inches="tight", metadata={"Software": None})


def forecasts(
    series: list[Series],
    shown: list[int],
    mean: Array,
    intervals: dict[str, tuple[Array, Array]],
    season_length: int,
) -> None:
    """plots/forecasts.png: the last seasons of a history, what came, and what was forecast."""
    figure = Figure(figsize=(12, 2.4 * len(shown)))
    axes = np.atleast_1d(figure.subplots(len(shown)))
    for axis, i in zip(axes, shown, strict=True):
        one, horizon = series[i], mean.shape[1]
        begin = max(0, one.length - 4 * season_length)
        future = one.times[one.length : one.length + horizon]
        seen = slice(len(future))  # fewer steps than the horizon may be held out
        axis.plot(one.times[begin:], one.values[begin:], color="black", linewidth=1, label="actual")
        axis.plot(future, mean[i, seen], color="C0", label="forecast")
        for level, (lower, upper) in intervals.items():
            axis.fill_between(
                future,
                lower[i, seen],
                upper[i, seen],
                color="C0",
                alpha=0.15,
                linewidth=0,
                label=f"{level} %",
            )
        axis.axvline(one.times[one.length], color="gray", linewidth=0.8, linestyle=":")
        axis.set_title(one.name, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(ncols=4, fontsize=8, loc="upper left")
    figure.tight_layout()
    save(figure, "forecasts.png")


def by_horizon(rows: list[dict[str, Any]], naive: list[dict[str, Any]]) -> None:
    """plots/horizon.csv for `dvc plots`, with the seasonal naive forecast beside it."""
    PLOTS.mkdir(exist_ok=True)
    table = pd.DataFrame(rows)
    table["mase_seasonal_naive"] = [row["mase"] for row in naive]
    table.to_csv(PLOTS / "horizon.csv", index=False)


def calibration(points: list[tuple[float, float]]) -> None:
    """plots/calibration.csv: share inside the interval over the share wished."""
    PLOTS.mkdir(exist_ok=True)
    table = pd.DataFrame(points, columns=["wished", "inside"])
    table.to_csv(PLOTS / "calibration.csv", index=False)
