"""Plots: fields against baselines, confidence against truth."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scoring import binned

PLOTS = Path("plots")


def save(figure: Figure, name: str) -> None:
    """A PNG without a date, so that two runs give the same bytes."""
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / name, dpi=100, bbox_inches="tight", metadata={"Software": None})


def bars(scores: dict[str, dict[str, float]]) -> None:
    """plots/fields.png: exact match of each field, by who answered."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axis, width = figure.subplots(), 0.8 / len(scores)
    names = list(next(iter(scores.values())))
    for i, (label, exact) in enumerate(scores.items()):
        places = np.arange(len(names)) + (i - (len(scores) - 1) / 2) * width
        drawn = axis.bar(places, list(exact.values()), width * 0.95, label=label)
        axis.bar_label(drawn, fmt="{:.2f}", fontsize=8)
    axis.set(title="Exact match on the test part", ylim=(0, 1.08), ylabel="share of records")
    axis.set_xticks(range(len(names)), names)
    axis.legend(fontsize=8, ncols=len(scores), loc="upper center", bbox_to_anchor=(0.5, -0.1))
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, "fields.png")


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int) -> None:
    """plots/confidence.png: share of right records over the confidence; [n] each."""
    figure = Figure(figsize=(4.5, 4), layout="constrained")
    axis = figure.subplots()
    parts = binned(confidence, bins)
    axis.plot([0, 1], [0, 1], "lightgray")
    axis.plot(
        [confidence[part].mean() for part in parts], [right[part].mean() for part in parts], "o-"
    )
    axis.set(xlabel="confidence", ylabel="share of right records", xlim=(0, 1), ylim=(-0.02, 1.02))
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, "confidence.png")
