"""What drift, quality and performance mean for images: the live metrics by name, and the profile they refer to."""

from typing import Any

import numpy as np
import pandas as pd

# name -> what it is and how it is computed from the request log and the feedback log
LIVE_METRICS = {
    "live.input_drift": "largest population stability index of brightness and contrast against the training profile",
    "live.prediction_drift": "population stability index of the probability of the positive class",
    "live.recall": "share of truly positive images decided positive, over those with feedback",
    "live.accuracy": "share of right decisions, over those with feedback",
}
FEATURES = ("brightness", "contrast")


def features(image: np.ndarray) -> dict[str, float]:
    """What the request log keeps of an image instead of it: uint8 [h, w, 3] -> mean and spread in gray levels."""
    return {"brightness": float(image.mean()), "contrast": float(image.std())}


def reference(train: pd.DataFrame, bins: int = 10) -> dict[str, Any]:
    """The profile of the training images: per feature the inner decile edges and the share of images in each bin."""
    profile = {}
    for name in FEATURES:
        edges = np.unique(np.quantile(train[name], np.linspace(0, 1, bins + 1)[1:-1]))
        shares = np.bincount(np.searchsorted(edges, train[name], side="right"), minlength=len(edges) + 1) / len(train)
        profile[name] = {"edges": edges.tolist(), "shares": shares.tolist()}
    return {"live_metrics": LIVE_METRICS, "images": len(train), "profile": profile}
