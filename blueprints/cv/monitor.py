"""What drift, quality and performance mean for images, and the process that watches them.

python monitor.py                        what the log has now -> live/report.html, live/values.json
python monitor.py --every 60 --port 9464 for ever, with /metrics for Prometheus
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from shared import drift
from shared.drift import Estimate

if TYPE_CHECKING:  # the service imports this file, and starts half a second sooner without it
    import pandas as pd

Rows = list[dict[str, Any]]
# name -> what it is; computed from the request log and the feedback log
LIVE_METRICS = {
    "live.input_drift": "largest population stability index of brightness and contrast "
    "against the training profile, beyond chance",
    "live.embedding_drift": "the same of what the network sees, the principal components of its "
    "last features, against the validation images",
    "live.prediction_drift": "the same of the positive class's probability, against the "
    "validation images",
    "live.recall": "share of truly positive images decided positive, over those with feedback",
    "live.accuracy": "share of right decisions, over those with feedback",
}
FEATURES = ("brightness", "contrast")


def features(image: np.ndarray) -> dict[str, float]:
    """What is kept of an image instead of it: mean and spread of uint8 [h, w, 3] in gray levels.

    From a histogram, in whole numbers: a large image costs no copy in floating point, and every
    processor finds the same digits.
    """
    counts = np.array(Image.fromarray(image).histogram()).reshape(-1, 256).sum(axis=0)
    levels = np.arange(256)
    total, first, second = (int(counts @ levels**power) for power in range(3))
    variance = (second * total - first**2) / total**2
    return {"brightness": first / total, "contrast": math.sqrt(variance)}


def profile(values: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """The inner edges of the deciles of [n] values, the share of values in each bin, and n."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    inside = np.searchsorted(edges, values, side="right")
    shares = np.bincount(inside, minlength=len(edges) + 1) / len(values)
    return {"edges": edges.tolist(), "shares": shares.tolist(), "rows": len(values)}


def components(embeddings: list[list[float]]) -> dict[str, tuple[float, ...]]:
    """[n, k] -> name -> [n] of each component; those of a window are of one model, so of one k."""
    return {f"component_{i}": values for i, values in enumerate(zip(*embeddings, strict=True), 1)}


def profiles(columns: Mapping[str, Iterable[float]]) -> dict[str, Any]:
    return {name: profile(np.array(list(values))) for name, values in columns.items()}


def reference(train: "pd.DataFrame") -> dict[str, Any]:
    """The profile of the training images, one for each feature."""
    found = profiles({name: train[name] for name in FEATURES})
    return {"live_metrics": LIVE_METRICS, "images": len(train), "profile": found}


def measure(rows: Rows, usual: dict[str, Any], model: dict[str, Any]) -> dict[str, Estimate]:
    """Metrics of a window of requests. usual: reports/reference.json; model: model.json."""
    rows = drift.distinct(rows, *FEATURES, "probability")
    columns = {name: [row[name] for row in rows] for name in FEATURES}
    seen = components([row["embedding"] for row in rows if "embedding" in row])
    sure = {"probability": [row["probability"] for row in rows]}
    return {
        "live.input_drift": drift.input_drift(columns, usual["profile"]),
        "live.embedding_drift": drift.input_drift(seen, model.get("embedding", {})),
        "live.prediction_drift": drift.input_drift(sure, {"probability": model["predictions"]}),
    }


def judge(rows: Rows, model: dict[str, Any]) -> dict[str, Estimate]:
    """Metrics of a window of requests whose truth has arrived."""
    rows = drift.distinct(rows, *FEATURES, "probability")
    positive = [row for row in rows if row["truth"] == model["positive"]]
    return {
        "live.recall": drift.share(row["decision"] == row["truth"] for row in positive),
        "live.accuracy": drift.share(row["decision"] == row["truth"] for row in rows),
    }


def doubt(row: dict[str, Any]) -> float:
    """How much a person's label of this image would tell: 1 at the threshold, less beyond."""
    return float(1 - abs(row["probability"] - row["threshold"]))


def main() -> None:
    from shared import monitoring  # the service imports this file too, and needs none of it

    with monitoring.watch(__doc__, truth=str) as watch:
        for windows in watch.runs():
            for window in windows:
                usual, model = watch.files(window.model)
                if window.labelled:
                    watch.record(window, judge(window.rows, model))
                else:
                    watch.record(window, measure(window.rows, usual, model))
            watch.queue(doubt)


if __name__ == "__main__":
    main()
