"""Stage `train`: backtest all candidates, choose, fit -> models/.

python train.py      a killed backtest goes on with the folds that are left

The backtest looks back from several moments, a season apart, the newest a horizon before the end of
the training part. It chooses the model, per data set or per series, and measures the intervals.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import backtest
import numpy as np
import pandas as pd
from dataset import PREPARED, Moments, Series, cuts, ends, moments, read, sampled
from folds import fold
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from safetensors.numpy import save_file

from shared import objectives, params, tracking

MODELS, CHECKPOINT, STORE = Path("models"), Path("checkpoint"), Path(".feast")
Single = Literal["seasonal_naive", "holt_winters", "theta", "croston", "global"]
Some = Field(min_length=1)
Level = Annotated[float, Field(gt=0, lt=100)]
Array = np.ndarray


class TrainParams(params.Params):
    candidates: tuple[Single | Literal["combination"], ...] = Some
    combined: tuple[Single, ...] = Some
    measure: Literal["mase", "rmsse"]
    folds: PositiveInt
    per_series: float
    levels: tuple[Level, ...] = Some
    max_rows: PositiveInt
    trees: PositiveInt
    leaves: int = Field(ge=2)
    min_rows_per_leaf: PositiveInt
    learning_rate: PositiveFloat
    jobs: NonNegativeInt
    seed: int


def save(path: Path, forecasts: dict[str, Array]) -> None:
    """A fold that is done: a killed run goes on with those that are left."""
    with params.atomic(path) as draft, draft.open("wb") as file:
        np.savez(file, **forecasts)


def load(path: Path) -> dict[str, Array]:
    with np.load(path) as arrays:
        return dict(arrays)


def asked(
    series: list[Series], looks: list[int], config: TrainParams, meta: dict[str, Any]
) -> tuple[Moments, dict[int, Moments]]:
    """Moments to learn from, and by steps back those to forecast from, asked for at once."""
    learnt = sampled(series, meta, config.max_rows // meta["horizon"], config.seed)
    wanted = [learnt, *[ends(series, back, meta) for back in (*looks, 0)]]
    known = moments(series, np.concatenate(wanted), STORE)
    parts = np.split(np.arange(len(known.series)), np.cumsum([len(part) for part in wanted])[:-1])
    pieces = [Moments(*(values[part] for values in known)) for part in parts]
    return pieces[0], dict(zip((*looks, 0), pieces[1:], strict=True))


def write(
    series: list[Series],
    forecasts: dict[str, Array],
    states: dict[str, Array],
    booster: Any,
    meta: dict[str, Any],
) -> None:
    """The fitted models in safe formats, and their own forecasts, which `export` must reproduce."""
    shutil.rmtree(MODELS, ignore_errors=True)
    MODELS.mkdir()
    names = [one.name for one in series]
    save_file(
        {key: np.ascontiguousarray(values) for key, values in states.items()},
        MODELS / "states.safetensors",
    )
    if booster is not None:
        booster.save_model(MODELS / "global.txt")
    table = pd.DataFrame({name: values.ravel() for name, values in forecasts.items()})
    table.insert(0, "step", np.tile(np.arange(1, meta["horizon"] + 1), len(names)))
    table.insert(0, "series_id", np.repeat(names, meta["horizon"]))
    table.to_parquet(MODELS / "forecasts.parquet", index=False)
    pd.DataFrame(meta.pop("backtest")).to_csv(MODELS / "backtest.csv", index=False)
    meta["ends"] = [str(one.times[one.length - 1])[:19] for one in series]
    params.write_json(MODELS / "model.json", meta | {"series": names})


def checkpoint(config: TrainParams) -> Path:
    """The folder for folds already done with these data, parameters and scripts; others go."""
    files = [*sorted(PREPARED.iterdir()), *sorted(Path(__file__).parent.glob("*.py"))]
    digest = hashlib.sha256(config.model_dump_json().encode())
    for path in files:
        digest.update(path.read_bytes())
    folder = CHECKPOINT / digest.hexdigest()[:16]
    if not folder.exists():
        shutil.rmtree(CHECKPOINT, ignore_errors=True)
        folder.mkdir(parents=True)
    elif any(folder.iterdir()):
        print(f"train: goes on after {len(list(folder.glob('[0-9]*')))} of {config.folds} folds")
    return folder


def main() -> None:
    config = params.stage("train", TrainParams)
    meta = params.read_json(PREPARED / "meta.json")
    series, folder = read(meta), checkpoint(config)
    run_id = tracking.start(objectives.load().name)
    looks = cuts(series, config.folds, meta)
    learnt, known = asked(series, looks, config, meta)
    folds = {}
    for back in looks:
        path = folder / f"{back}.npz"
        if not path.exists():
            save(path, fold(series, (learnt, known[back]), back, config, meta)[0])
        folds[back] = load(path)
        errors = backtest.table(series, {back: folds[back]}, meta, config.measure)
        means = {f"backtest.{name}": float(np.nanmean(found)) for name, found in errors.items()}
        run_id = tracking.epoch(run_id, back, means)
    chosen = backtest.choose(series, folds, config, meta)
    forecasts, states, booster = fold(series, (learnt, known[0]), 0, config, meta)
    write(series, forecasts, states, booster, meta | chosen)
    shutil.rmtree(CHECKPOINT)
    error = f"{config.measure} {chosen['backtest_error']:.3f} in the backtest"
    print(f"train: {chosen['chosen']}, {error} -> {MODELS}")


if __name__ == "__main__":
    main()
