"""Stage `evaluate`: held-out scores against honest baselines -> metrics.json, reports/operating.json, plots/.

Temperature and threshold are chosen on validation; every number under `test` is of images no choice has seen.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import numpy as np
import pandas as pd
import scoring
import torch
from dataset import PREPARED, samples
from model import build, features, load, normalise, start_weights
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from shared import params


class EvaluateParams(params.Params):
    min_recall: float
    calibration_bins: int
    mistakes_shown: int
    seed: int


@torch.no_grad()
def outputs(function: Callable[..., torch.Tensor], rows: np.ndarray, title: str, batch: int = 64) -> np.ndarray:
    """`function` of the normalised images at `rows` of images.npy, in batches -> [n, ...]."""
    pixels = np.load(PREPARED / "images.npy", mmap_mode="r")
    parts = [rows[i : i + batch] for i in range(0, len(rows), batch)]
    bar = tqdm(parts, desc=title, unit="batch")
    return np.concatenate([function(normalise(torch.from_numpy(pixels[part]))).numpy() for part in bar])


def frozen_baseline(table: pd.DataFrame, positive: np.ndarray, architecture: str) -> dict[str, float]:
    """ImageNet features that never saw these images, with a logistic regression on top, on the same test images."""
    network = start_weights(build(architecture, 2), architecture, "packaged").eval()
    values = outputs(lambda images: features(network, images), table.index.to_numpy(), "baseline")
    test = (table["split"] == "test").to_numpy()
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=2000))
    probability = regression.fit(values[~test], positive[~test]).predict_proba(values[test])[:, 1]
    return {
        "accuracy": float(((probability >= 0.5) == positive[test]).mean()),
        "auc": scoring.auc(positive[test], probability),
    }


def score(probabilities: np.ndarray, truth: np.ndarray, index: int, config: EvaluateParams) -> dict[str, Any]:
    """Scores of the likeliest class, with intervals: the block `test` of metrics.json."""
    right, positive, chosen = (
        probabilities.argmax(1) == truth,
        truth == index,
        probabilities[:, index],
    )
    return {
        "accuracy": float(right.mean()),
        "accuracy_interval": scoring.interval(lambda values: float(values.mean()), right, seed=config.seed),
        "auc": scoring.auc(positive, chosen),
        "auc_interval": scoring.interval(scoring.auc, positive, chosen, seed=config.seed),
        **scoring.scores(probabilities.argmax(1) == index, positive),
        "ece": scoring.calibration(chosen, positive, config.calibration_bins)[0],
        "images": len(truth),
    }


def operating_point(chosen: np.ndarray, positive: np.ndarray, threshold: float) -> dict[str, float]:
    """Scores of decisions at the threshold that the service uses."""
    decided = chosen >= threshold
    return {
        "threshold": threshold,
        **scoring.scores(decided, positive),
        "accuracy": float((decided == positive).mean()),
        "flagged_share": float(decided.mean()),
    }


def subgroups(held: pd.DataFrame, chosen: np.ndarray, positive: np.ndarray, threshold: float) -> dict[str, Any]:
    """The same scores for each value of the column `subgroup`: a good mean may hide a bad part."""
    return {
        str(name) or "all": {
            "images": len(rows),
            "accuracy": float(((chosen[rows] >= 0.5) == positive[rows]).mean()),
            "auc": scoring.auc(positive[rows], chosen[rows]),
            "operating_recall": scoring.scores(chosen[rows] >= threshold, positive[rows])["recall"],
        }
        for name, rows in held.reset_index(drop=True).groupby("subgroup").indices.items()
    }


def main() -> None:
    config = params.read("evaluate", EvaluateParams)
    network, meta = load(Path("models"))
    classes, index = meta["classes"], meta["classes"].index(meta["positive"])
    table = samples()
    held = table[table["split"] != "train"]
    logits = outputs(network, held.index.to_numpy(), "evaluate")
    truth, test = held["label"].map(classes.index).to_numpy(), (held["split"] == "test").to_numpy()
    temperature = scoring.best_temperature(logits[~test], truth[~test])
    probabilities = scoring.softmax(logits, temperature)
    chosen, positive = probabilities[:, index], truth == index
    threshold = scoring.highest_threshold(chosen[~test], positive[~test], config.min_recall)
    params.write_json("reports/operating.json", {"temperature": temperature, "threshold": threshold})
    backbone = meta["architecture"] if meta["architecture"] == "efficientnet_lite0" else "squeezenet1_1"
    frozen = frozen_baseline(table, (table["label"] == meta["positive"]).to_numpy(), backbone)
    metrics = {
        "test": score(probabilities[test], truth[test], index, config),
        "operating": operating_point(chosen[test], positive[test], threshold),
        "baseline": {
            "majority": {"accuracy": float(max(np.bincount(truth[test])) / test.sum())},
            "frozen": frozen,
        },
        "subgroup": subgroups(held[test], chosen[test], positive[test], threshold),
        "validation": {
            "accuracy": float((probabilities.argmax(1) == truth)[~test].mean()),
            "temperature": temperature,
        },
    }
    metrics["baseline"]["auc_gain"] = metrics["test"]["auc"] - frozen["auc"]
    params.write_json("metrics.json", metrics)
    figures.draw(network, held[test], probabilities[test], truth[test], classes, index, config)
    print(f"evaluate: accuracy {metrics['test']['accuracy']:.3f}, AUC {metrics['test']['auc']:.3f} -> metrics.json")


if __name__ == "__main__":
    main()
