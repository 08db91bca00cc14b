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
    names = np.array(classes)
    curves: dict[str, Any] = {
        "roc": {"false_positive_rate": false_alarm, "recall": caught},
        "precision_recall": {"recall": recall, "precision": precision},
        "calibration": scoring.calibration(chosen, positive, config.calibration_bins)[1],
        "confusion": {"actual": names[truth], "predicted": names[probabilities.argmax(1)]},
    }
    for name, columns in curves.items():
        pd.DataFrame(columns).to_csv(PLOTS / f"{name}.csv", index=False, float_format="%.5g")
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
    """mistakes.png: each picture with its label and what was said, below it the heat map."""
    pixels = np.load(PREPARED / "images.npy", mmap_mode="r")[rows.index.to_numpy()]
    heat = heatmap.grad_cam(network, normalise(torch.from_numpy(pixels)), index).numpy()
    columns = max(1, min(6, len(rows)))
    lines = -(-len(rows) // columns)
    size = (2.2 * columns, 4.6 * lines)
    figure, axes = plt.subplots(2 * lines, columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, image in enumerate(pixels):
        above, below = axes[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        picture = np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3))
        said = int(probabilities[i].argmax())
        title = f"{classes[truth[i]]}\nsaid {classes[said]} {probabilities[i, said]:.2f}"
        above.imshow(picture)
        above.set_title(title, fontsize=8)
        extent = (0, picture.shape[1], picture.shape[0], 0)
        below.imshow(picture, extent=extent)
        below.imshow(heat[i], "inferno", alpha=0.5, extent=extent, interpolation="bilinear")
    figure.tight_layout()
    figure.savefig(PLOTS / "mistakes.png", dpi=80, metadata={"Software": None})
    plt.close(figure)
