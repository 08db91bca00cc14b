"""Labels that deserve a second look: by their spelling, by a simple model on thumbnails."""

import re
from collections import defaultdict

import manifest as images
import numpy as np
import pandas as pd
import twins
from parallel import in_order
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

SIDE, FOLDS = 48, 5


def alike(names: list[str]) -> list[list[str]]:
    """Labels that differ by case and spaces only, or as numbers by `.0` only."""
    spelt = defaultdict(list)
    for name in names:
        plain = " ".join(name.split()).casefold()
        spelt[re.sub(r"^(-?\d+)\.0+$", r"\1", plain)].append(name)
    return [same for same in spelt.values() if len(same) > 1]


def thumbnail(image: str) -> np.ndarray:
    """Gray levels [SIDE * SIDE] of an ingested image."""
    gray = Image.fromarray(images.picture(image)).convert("L")
    return np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX)).ravel()


def folds(manifest: pd.DataFrame, target: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(learnt from, held out) positions; where rows have a `group`, each is whole in one fold.

    Fewer folds where one side has fewer groups, and none where groups cannot be told apart so.
    """
    if not (manifest["group"] != "").any():
        splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        return list(splitter.split(target, target))
    groups = twins.connected(manifest)
    number = min(FOLDS, *(len(np.unique(groups[target == side])) for side in (True, False)))
    if number < 2:
        return []
    whole = StratifiedGroupKFold(number, shuffle=True, random_state=0)
    found = list(whole.split(target, target, groups))
    fit = all(len(held) and len(np.unique(target[learnt])) == 2 for learnt, held in found)
    return found if fit else []


def doubts(manifest: pd.DataFrame, positive: str) -> tuple[float, pd.Series]:
    """AUC of a simple cross-validated model, and its probability of each row's own label.

    The AUC is the signal in the labels: 0 where either side has less than a row for each fold, or
    lies within one group.
    Rows whose own label gets a low probability are the candidates for a second look.
    """
    target = (manifest["label"] == positive).to_numpy()
    if min(target.sum(), (~target).sum()) < FOLDS or not (parts := folds(manifest, target)):
        return 0.0, pd.Series(dtype=float)
    pixels = np.array(list(in_order(thumbnail, manifest["image"].tolist(), "validate")))
    most = min(60, len(pixels) // 4, *(len(learnt) for learnt, _ in parts))
    components = PCA(most, whiten=True, random_state=0)
    model = make_pipeline(StandardScaler(), components, LogisticRegression(C=0.05))
    with threadpool_limits(1):  # matrices so small only lose time to several threads
        probability = cross_val_predict(
            model, pixels / 255, target, cv=parts, method="predict_proba"
        )[:, 1]
    own = np.where(target, probability, 1 - probability)
    return float(roc_auc_score(target, probability)), pd.Series(own, manifest.index)
