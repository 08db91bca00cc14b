"""Stage `evaluate`: scores against baselines -> metrics.json, reports/operating.json, plots/.

Temperature and threshold are chosen on validation; the numbers under `test` only report.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import figures
import monitor
import numpy as np
import pandas as pd
import scoring
import torch
from dataset import PREPARED, samples
from model import Features, averaged, build, load, normalise
from pretrained import start_weights
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from shared import memory, params


class EvaluateParams(params.Params):
    min_recall: float
    calibration_bins: int
    mistakes_shown: int
    seed: int


def outputs(
    function: Callable[[torch.Tensor], Any], rows: np.ndarray, title: str, batch: int = 32
) -> np.ndarray:
    """`function` of the pixels at `rows` of images.npy, in batches -> [n, ...]."""
    pixels = np.load(PREPARED / "images.npy", mmap_mode="r")
    parts = [rows[first : first + batch] for first in range(0, len(rows), batch)]
    bar = tqdm(parts, desc=title, unit="batch")
    return np.concatenate([np.asarray(function(torch.from_numpy(pixels[part]))) for part in bar])


def logits_of(network: torch.nn.Module, turns: list[int]) -> Callable[[torch.Tensor], Any]:
    """The network on pixels, averaged over turns, in the layout that is fastest on CPUs."""
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    dense = {"memory_format": torch.channels_last}
    return torch.no_grad()(
        lambda pixels: averaged(network, normalise(pixels).contiguous(**dense), turns)
    )


def frozen_baseline(table: pd.DataFrame, positive: str, backbone: str) -> dict[str, float]:
    """ImageNet features that never saw these images, and a logistic regression on top of them.

    It learns from the training and validation images and is judged on the same test images.
    """
    network = start_weights(build(backbone, 2), backbone, "packaged")
    values = outputs(logits_of(Features(network), [0]), table.index.to_numpy(), "baseline")
    test = (table["split"] == "test").to_numpy()
    last = [*sorted(set(table["label"]) - {positive}), positive]
    truth = table["label"].map(last.index).to_numpy()
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=2000))
    probability = regression.fit(values[~test], truth[~test]).predict_proba(values[test])
    return {
        "accuracy": float((probability.argmax(1) == truth[test]).mean()),
        "auc": scoring.auc((table["label"] == positive).to_numpy()[test], probability[:, -1]),
    }


def score(
    probabilities: np.ndarray, truth: np.ndarray, index: int, parts: Any, config: EvaluateParams
) -> dict[str, Any]:
    """Scores of the likeliest class, with intervals: the block `test` of metrics.json."""
    right, positive = probabilities.argmax(1) == truth, truth == index
    chosen, interval = probabilities[:, index], partial(scoring.interval, parts=parts)
    return {
        "accuracy": float(right.mean()),
        "accuracy_interval": interval(lambda values: float(values.mean()), right, seed=config.seed),
        "auc": scoring.auc(positive, chosen),
        "auc_interval": interval(scoring.auc, positive, chosen, seed=config.seed),
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


def subgroups(
    held: pd.DataFrame, probabilities: np.ndarray, truth: np.ndarray, index: int, threshold: float
) -> dict[str, Any]:
    """The same scores for each value of the column `subgroup`: a good mean may hide a bad part."""
    right, positive = probabilities.argmax(1) == truth, truth == index
    chosen = probabilities[:, index]
    return {
        str(name) or "all": {
            "images": len(rows),
            "accuracy": float(right[rows].mean()),
            "auc": scoring.auc(positive[rows], chosen[rows]),
            "operating_recall": scoring.scores(chosen[rows] >= threshold, positive[rows])["recall"],
        }
        for name, rows in held.reset_index(drop=True).groupby("subgroup").indices.items()
    }


def report(
    held: pd.DataFrame,
    outcome: tuple[np.ndarray, np.ndarray],
    operating: dict[str, float],
    index: int,
    frozen: dict[str, float],
    config: EvaluateParams,
) -> dict[str, Any]:
    """metrics.json: `held` are the validation and test rows, `outcome` (probabilities, truth)."""
    test = (held["split"] == "test").to_numpy()
    probabilities, truth = (part[test] for part in outcome)
    spare = [part[~test] for part in outcome]
    chosen, positive, threshold = probabilities[:, index], truth == index, operating["threshold"]
    scores = score(probabilities, truth, index, held["part"].to_numpy()[test], config)
    return {
        "test": scores,
        "operating": operating_point(chosen, positive, threshold),
        "baseline": {
            "majority": {"accuracy": float(np.bincount(truth).max() / len(truth))},
            "frozen": frozen,
            "auc_gain": scores["auc"] - frozen["auc"],
        },
        "subgroup": subgroups(held[test], probabilities, truth, index, threshold),
        "validation": {
            "accuracy": float((spare[0].argmax(1) == spare[1]).mean()),
            "temperature": operating["temperature"],
        },
    }


def main() -> None:
    config = params.stage("evaluate", EvaluateParams)
    memory.keep_freed()
    network, meta = load(Path("models"))
    classes, index = meta["classes"], meta["classes"].index(meta["positive"])
    table = samples()
    held = table[table["split"] != "train"]
    logits = outputs(logits_of(network, meta["turns"]), held.index.to_numpy(), "evaluate")
    truth, test = held["label"].map(classes.index).to_numpy(), (held["split"] == "test").to_numpy()
    temperature = scoring.best_temperature(logits[~test], truth[~test])
    probabilities = scoring.softmax(logits, temperature)
    sure = probabilities[~test, index]
    threshold = scoring.highest_threshold(sure, truth[~test] == index, config.min_recall)
    operating = {"temperature": temperature, "threshold": threshold}
    operating |= {"predictions": monitor.profile(sure)}
    params.write_json("reports/operating.json", operating)
    lite = meta["architecture"] == "efficientnet_lite0"
    backbone = meta["architecture"] if lite else "squeezenet1_1"
    frozen = frozen_baseline(table, meta["positive"], backbone)
    metrics = report(held, (probabilities, truth), operating, index, frozen, config)
    params.write_json("metrics.json", metrics)
    figures.draw(network, held[test], probabilities[test], truth[test], classes, index, config)
    found = metrics["test"]
    print(f"evaluate: accuracy {found['accuracy']:.3f}, AUC {found['auc']:.3f} -> metrics.json")


if __name__ == "__main__":
    main()
