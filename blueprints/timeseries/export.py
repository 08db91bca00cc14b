"""Stage `export`: models/ -> export/ (ONNX, arrays, model.json, online features), export.json.

export.json says how near each exported candidate is to what sktime and LightGBM forecast for every
series, how large all is, and how fast.
"""

import shutil
from pathlib import Path
from typing import Any

import features
import numpy as np
import pandas as pd
import store
from classical import PARAMETERS
from dataset import Series, moments, read
from feast.protos.feast.core.Registry_pb2 import Registry
from model import load_global
from predictor import Known, Predictor
from pydantic import PositiveInt
from safetensors.numpy import load_file
from trees import to_onnx

from shared import exporting, params

MODELS, EXPORT = Path("models"), Path("export")
Array = np.ndarray
Json = dict[str, Any]
DATED = ("last_updated", "version_id", "project_uuid", "meta", "feature_view_version_history")


class ExportParams(params.Params):
    latency_series: PositiveInt


def scales(series: list[Series], meta: Json) -> Json:
    """Of each series the unit of scaled errors, so that live ones are measured as the test's."""
    histories = [one.values[: one.length] for one in series]
    return {"scales": [features.naive_error(past, meta["season_length"]) for past in histories]}


def usual(states: dict[str, Array], meta: Json) -> Json:
    """What a series unknown to the model is forecast with: commonest choice, median parameters."""
    parameters = {
        name: {key: float(np.nanmedian(states[f"{name}.{key}"])) for key in keys}
        for name, keys in PARAMETERS.items()
        if f"{name}.level" in states
    }
    choices = pd.Series(meta["choices"])
    return {"usual_parameters": parameters, "usual_choice": str(choices.mode()[0])}


def at_the_end_of_training(predictor: Predictor, series: list[Series]) -> tuple[Known, Array]:
    """All series as they were when the models were fitted, and the covariates of the test."""
    wanted = np.array([(i, one.length) for i, one in enumerate(series)])
    found = moments(series, wanted, Path(".feast"))
    rows = [
        {
            "series_id": one.name,
            "recent": found.recent[i],
            "observations": one.length,
            "last": pd.Timestamp(one.times[one.length - 1]),
        }
        for i, one in enumerate(series)
    ]
    covariates = [future(one, predictor.horizon) for one in series]
    return predictor.known(rows), np.stack(covariates)


def future(one: Series, horizon: int) -> Array:
    """[horizon, covariates] after the end of training; beyond the data as `dataset.inputs`."""
    return one.covariates[np.minimum(one.length + np.arange(horizon), len(one.values) - 1)]


def check(predictor: Predictor, known: Known, covariates: Array | None) -> Json:
    """Every exported candidate against the forecasts that its own library made in `train`."""
    names, horizon = predictor.meta["series"], predictor.horizon
    table = pd.read_parquet(MODELS / "forecasts.parquet")
    ours = predictor.candidates(known, horizon, covariates)
    results, every = {}, []
    for name in [name for name in ours if name in table]:
        theirs = table[name].to_numpy().reshape(len(names), horizon)
        if (np.isfinite(ours[name]) != np.isfinite(theirs)).any():
            raise SystemExit(f"export: {name} forecasts other series than its library does")
        size = np.maximum(np.nanmean(np.abs(theirs), axis=1, keepdims=True), 1e-9)
        one, other = (np.nan_to_num(values / size) for values in (ours[name], theirs))
        alike = np.abs(one - other).max(axis=1) < 1e-4  # of a series' mean size
        results[name] = exporting.parity(one, other, lambda values: np.zeros(len(values)))
        results[name]["decision_agreement"] = float(alike.mean())
        every.append(results[name])
    results["all"] = {
        "max_abs_diff": max(result["max_abs_diff"] for result in every),
        "decision_agreement": min(result["decision_agreement"] for result in every),
        "size_mb": exporting.size_mb(*[path for path in EXPORT.iterdir() if path.is_file()]),
    }
    return results


def latencies(predictor: Predictor, series: list[Series], meta: Json) -> Json:
    """Median milliseconds per series on one thread: everything a request needs but the server."""
    levels = meta["levels"]

    def forecast(one: Series) -> Any:
        values, last = one.values[: one.length], pd.Timestamp(one.times[one.length - 1])
        known = predictor.of_history(values, last)
        given = future(one, meta["horizon"])[None] if meta["covariates"] else None
        return predictor.forecast(known, meta["horizon"], levels, given)

    taken = exporting.latencies_ms({"history": forecast}, series)
    return {"latency_p50_ms": taken["history"]}


def undated(message: Any) -> None:
    """Take out of Feast's registry when it was made: the same models make the same files."""
    for field, value in message.ListFields():
        if field.name in DATED:
            message.ClearField(field.name)
        elif field.message_type:
            for part in value if field.is_repeated else [value]:
                undated(part)


def main() -> None:
    config = params.stage("export", ExportParams)
    meta, states = params.read_json(MODELS / "model.json"), load_file(MODELS / "states.safetensors")
    series = read(meta)
    shutil.rmtree(EXPORT, ignore_errors=True)
    EXPORT.mkdir()
    shutil.copyfile(MODELS / "states.safetensors", EXPORT / "states.safetensors")
    meta["global_model"] = (MODELS / "global.txt").exists()
    params.write_json(EXPORT / "model.json", meta | usual(states, meta) | scales(series, meta))
    if meta["global_model"]:
        booster = load_global(MODELS)
        to_onnx(booster, booster.num_feature(), EXPORT / "global.onnx")
    predictor = Predictor(EXPORT)
    known, covariates = at_the_end_of_training(predictor, series)
    results = check(predictor, known, covariates if meta["covariates"] else None)
    results["all"] |= latencies(predictor, series[: config.latency_series], meta)
    number = store.materialise(store.opened(store.ONLINE))
    path = store.ONLINE / "registry.db"
    undated(registry := Registry.FromString(path.read_bytes()))
    path.write_bytes(registry.SerializeToString(deterministic=True))
    params.write_json("export.json", results)
    agreed = results["all"]["decision_agreement"]
    print(f"export: {number} series, agreement {agreed:.4f} -> {EXPORT}")


if __name__ == "__main__":
    main()
