"""What drift, quality and performance mean for images: live metrics by name, and their profile."""

from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

# name -> what it is; computed from the request log and the feedback log
LIVE_METRICS = {
    "live.input_drift": "largest population stability index of brightness and contrast "
    "against the training profile",
    "live.prediction_drift": "population stability index of the positive class's probability",
    "live.recall": "share of truly positive images decided positive, over those with feedback",
    "live.accuracy": "share of right decisions, over those with feedback",
}
FEATURES = ("brightness", "contrast")


def features(image: np.ndarray) -> dict[str, float]:
    """What is kept of an image instead of it: mean and spread of uint8 [h, w, 3] in gray levels.

    From a histogram: exact, and a large image costs no copy in floating point.
    """
    counts = np.array(Image.fromarray(image).histogram()).reshape(-1, 256).sum(axis=0)
    levels, total = np.arange(256), counts.sum()
    mean = counts @ levels / total
    spread = np.sqrt(counts @ (levels - mean) ** 2 / total)
    return {"brightness": float(mean), "contrast": float(spread)}


def reference(train: pd.DataFrame, bins: int = 10) -> dict[str, Any]:
    """The profile of the training images.

    Per feature the inner edges of its deciles, and the share of images in each bin.
    """
    profile = {}
    for name in FEATURES:
        edges = np.unique(np.quantile(train[name], np.linspace(0, 1, bins + 1)[1:-1]))
        inside = np.searchsorted(edges, train[name], side="right")
        shares = np.bincount(inside, minlength=len(edges) + 1) / len(train)
        profile[name] = {"edges": edges.tolist(), "shares": shares.tolist()}
    return {"live_metrics": LIVE_METRICS, "images": len(train), "profile": profile}
