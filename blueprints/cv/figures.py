"""Curves for `dvc plots`, and pictures of the worst mistakes with Grad-CAM heat maps -> plots/."""

from pathlib import Path
from typing import Any

import heatmap
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scoring
import torch
from dataset import PREPARED
from model import normalise
from sklearn.metrics import precision_recall_curve, roc_curve

PLOTS = Path("plots")


def draw(
    network: torch.nn.Module,
    test: pd.DataFrame,
    probabilities: np.ndarray,
    truth: np.ndarray,
    classes: list[str],
    index: int,
    config: Any,
) -> None:
    """Write all plots of the test split; probabilities [n, classes], truth [n] class indices."""
    PLOTS.mkdir(exist_ok=True)
    positive, chosen = truth == index, probabilities[:, index]
    false_alarm, caught, _ = roc_curve(positive, chosen)
    precision, recall, _ = precision_recall_curve(positive, chosen)
    curves = {
        "roc": pd.DataFrame({"false_positive_rate": false_alarm, "recall": caught}),
        "precision_recall": pd.DataFrame({"recall": recall, "precision": precision}),
        "calibration": pd.DataFrame(scoring.calibration(chosen, positive, config.calibration_bins)[1]),
        "confusion": pd.DataFrame(
            {
                "actual": [classes[i] for i in truth],
                "predicted": [classes[i] for i in probabilities.argmax(1)],
            }
        ),
    }
    for name, table in curves.items():
        table.to_csv(PLOTS / f"{name}.csv", index=False, float_format="%.5g")
    own = probabilities[np.arange(len(truth)), truth]
    worst = np.argsort(own, kind="stable")[: config.mistakes_shown]
    mistakes(network, test.iloc[worst], truth[worst], probabilities[worst], classes, index)


def mistakes(
    network: torch.nn.Module,
    rows: pd.DataFrame,
    truth: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    index: int,
) -> None:
    """mistakes.png: above the picture, its label and what was said; below where the positive class was seen."""
    pixels = torch.from_numpy(np.load(PREPARED / "images.npy", mmap_mode="r")[rows.index.to_numpy()])
    heat = heatmap.grad_cam(network, normalise(pixels), index).numpy()
    columns = max(1, min(6, len(rows)))
    lines = -(-len(rows) // columns)
    figure, axes = plt.subplots(2 * lines, columns, figsize=(2.2 * columns, 4.6 * lines), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i in range(len(rows)):
        line, column = 2 * (i // columns), i % columns
        picture = pixels[i].permute(1, 2, 0).expand(-1, -1, 3).numpy()
        said = int(probabilities[i].argmax())
        axes[line, column].imshow(picture)
        axes[line, column].set_title(
            f"{classes[truth[i]]}\nsaid {classes[said]} {probabilities[i, said]:.2f}", fontsize=8
        )
        extent = (0, picture.shape[1], picture.shape[0], 0)
        axes[line + 1, column].imshow(picture, extent=extent)
        axes[line + 1, column].imshow(heat[i], cmap="inferno", alpha=0.5, extent=extent, interpolation="bilinear")
    figure.tight_layout()
    figure.savefig(PLOTS / "mistakes.png", dpi=80, metadata={"Software": None})
    plt.close(figure)
