"""Stage `evaluate`: scores on the held-out horizon, against baselines -> metrics.json, plots/.

Model and intervals were chosen by the backtest, inside the training part; nothing here chooses.
"""

import shutil
from pathlib import Path
from typing import Any

import features
import figures
import numpy as np
import pandas as pd
import peers
import profiles
import scoring
from dataset import Series, read
from intervals import interval
from pydantic import PositiveInt

from shared import params

MODELS = Path("models")
Array = np.ndarray


class EvaluateParams(params.Params):
    peer: bool
    series_shown: PositiveInt
    seed: int


def forecast(meta: dict[str, Any], models: Path = MODELS) -> dict[str, Array]:
    """Candidate -> [series, horizon] means from the end of training, `chosen` among them.

    Where the chosen candidate could not be fitted, last season stands in, as in the service.
    """
    table = pd.read_parquet(models / "forecasts.parquet").drop(columns=["series_id", "step"])
    found = {name: table[name].to_numpy().reshape(-1, meta["horizon"]) for name in table}
    chosen = np.stack([found[name][i] for i, name in enumerate(meta["choices"])])
    return found | {"chosen": np.where(np.isfinite(chosen), chosen, found["seasonal_naive"])}


def intervals(series: list[Series], mean: Array, meta: dict[str, Any]) -> scoring.Intervals:
    """level -> (lower, upper), each [series, horizon], as the service gives them."""
    m = meta["season_length"]
    bounds: dict[str, list[tuple[Array, Array]]] = {f"{level:g}": [] for level in meta["levels"]}
    for one, row in zip(series, mean, strict=True):
        recent = features.origins(one.values[: one.length], m, np.array([one.length]))["recent"]
        unit = float(features.scale(recent, m)[0])
        for level in meta["levels"]:
            bounds[f"{level:g}"].append(interval(row, unit, level, meta))
    return {
        level: (np.stack([low for low, _ in pairs]), np.stack([high for _, high in pairs]))
        for level, pairs in bounds.items()
    }


def by_class(series: list[Series], held: scoring.Held) -> dict[str, Any]:
    """The scores of each class of demand (Syntetos and Boylan), which a good mean may hide."""
    kinds = np.array([profiles.intermittency(one.values[: one.length]) for one in series])
    return {
        str(kind): {"series": int((kinds == kind).sum())} | scoring.scores(held, kinds == kind)
        for kind in np.unique(kinds)
    }


def baselines(
    found: dict[str, Array], series: list[Series], meta: dict[str, Any], config: EvaluateParams
) -> dict[str, Array]:
    """Forecasts to compare with: every candidate, and the peer library where it is installed."""
    others = {name: values for name, values in found.items() if name != "chosen"}
    if config.peer and peers.available():
        jobs = params.load_yaml("params.yaml")["train"]["jobs"]
        others |= peers.forecasts(series, meta["season_length"], meta["horizon"], jobs)
    return others


def main() -> None:
    config = params.stage("evaluate", EvaluateParams)
    shutil.rmtree(figures.PLOTS, ignore_errors=True)
    meta = params.read_json(MODELS / "model.json")
    series, found, m = read(meta), forecast(meta), meta["season_length"]
    real, (unit, squared) = scoring.truth(series, meta["horizon"]), scoring.units(series, m)
    mean = found["chosen"]
    bands = intervals(series, mean, meta)
    held = scoring.Held(mean, real, unit, squared, bands)
    per_series, test = scoring.errors(mean, real, unit, squared), scoring.scores(held)
    baseline: dict[str, Any] = {
        name: scoring.summary(scoring.errors(values, real, unit, squared))
        for name, values in baselines(found, series, meta, config).items()
    }
    baseline["mase_gain"] = 1 - test["mase"] / baseline["seasonal_naive"]["mase"]
    steps = scoring.by_horizon(held)
    test |= {"mase_interval": scoring.interval_of_mean(per_series["mase"], config.seed)}
    test |= {"series": int(np.isfinite(per_series["mase"]).sum())}
    metrics = {"test": test, "baseline": baseline, "class": by_class(series, held)}
    backtest = {key: meta[key] for key in ("backtest_error", "per_series_gain")}
    params.write_json("metrics.json", metrics | {"validation": backtest, "horizon": steps})
    order = np.argsort(np.nan_to_num(per_series["mase"]))
    places = np.linspace(0, len(order) - 1, min(config.series_shown, len(order))).astype(int)
    figures.forecasts(series, order[places].tolist(), mean, bands, m)
    naive = held._replace(mean=found["seasonal_naive"], intervals={})
    figures.by_horizon(steps, scoring.by_horizon(naive))
    figures.calibration([(float(level) / 100, test[f"coverage_{level}"]) for level in bands])
    print(
        f"evaluate: MASE {test['mase']:.3f}, seasonal naive "
        f"{baseline['seasonal_naive']['mase']:.3f} -> metrics.json"
    )


if __name__ == "__main__":
    main()
