"""What a classifier's numbers mean: temperature, threshold, scores, calibration, intervals."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """[n, classes] -> probabilities."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def best_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The divisor of the logits with the lowest log loss (Guo et al. 2017); truth [n] indices."""

    def loss(temperature: float) -> float:
        own = softmax(logits, temperature)[np.arange(len(truth)), truth]
        return float(-np.log(own + 1e-12).mean())

    return float(minimize_scalar(loss, bounds=(0.25, 10), method="bounded").x)


def highest_threshold(probability: np.ndarray, positive: np.ndarray, min_recall: float) -> float:
    """The highest threshold at which at least `min_recall` of the positives are caught."""
    caught = np.sort(probability[positive])[::-1]
    return float(caught[max(int(np.ceil(min_recall * len(caught))), 1) - 1])


def scores(decided: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Recall, precision and F1 of boolean decisions; 0 where nothing was decided positive."""
    hits = float((decided & positive).sum())
    recall, precision = hits / max(positive.sum(), 1), hits / max(decided.sum(), 1)
    f1 = 2 * recall * precision / (recall + precision) if hits else 0.0
    return {"recall": float(recall), "precision": float(precision), "f1": float(f1)}


def calibration(
    probability: np.ndarray, positive: np.ndarray, bins: int
) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error of the positive class.

    And per bin: mean probability, share of positives, images.
    """
    index = np.minimum((probability * bins).astype(int), bins - 1)
    rows = []
    for i in np.unique(index):
        inside = index == i
        mean, share = float(probability[inside].mean()), float(positive[inside].mean())
        rows.append({"probability": mean, "share": share, "images": float(inside.sum())})
    gaps = sum(abs(row["probability"] - row["share"]) * row["images"] for row in rows)
    return float(gaps / len(positive)), rows


def auc(positive: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve; 0.5 where there is only one class to tell apart."""
    both = 0 < positive.sum() < len(positive)
    return float(roc_auc_score(positive, probability)) if both else 0.5


def interval(
    statistic: Callable[..., float],
    *arrays: np.ndarray,
    parts: np.ndarray,
    seed: int,
    rounds: int = 500,
) -> list[float]:
    """95 % bootstrap interval of a statistic over the images.

    Drawn are parts, each with all of its images, which say little beyond one another; parts: [n]
    the number of each image's part.
    """
    number = pd.factorize(parts)[0]
    generator, n = np.random.default_rng(seed), number.max() + 1
    members = np.split(np.argsort(number, kind="stable"), np.bincount(number).cumsum()[:-1])
    draws = [generator.integers(0, n, n) for _ in range(rounds)]
    rows = (np.concatenate([members[part] for part in draw]) for draw in draws)
    values = [statistic(*(array[drawn] for array in arrays)) for drawn in rows]
    return [float(bound) for bound in np.quantile(values, [0.025, 0.975])]
