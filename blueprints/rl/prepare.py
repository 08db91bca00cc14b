"""Stage `prepare`: fill, split by time, what is seen -> data/prepared/, reports/reference.json."""

import shutil
from pathlib import Path
from typing import Any, Literal

import battery as physics
import market
import monitor
import numpy as np
import pandas as pd
import vectors
import views
from env import EnvParams
from features import DAYS
from pydantic import Field, PositiveInt, field_validator
from safetensors.numpy import save_file

from shared import params

CHECKED, RAW, PREPARED = Path("data/checked.parquet"), Path("data/raw"), market.PREPARED
Array = np.ndarray


class PrepareParams(params.Params):
    gaps: Literal["day_before", "previous"]
    test_from: str | None
    test_share: float = Field(gt=0, lt=1)
    validation_every: int = Field(ge=2)
    block_days: PositiveInt
    random_steps: int = Field(ge=1000)
    seed: int

    @field_validator("test_from")
    @classmethod
    def is_local(cls, text: str | None) -> str | None:
        try:
            plain = text is None or pd.Timestamp(text).tz is None
        except (ValueError, OverflowError):
            plain = False
        if not plain:
            raise ValueError("is no local date such as 2022-01-01, without an offset")
        return text


def fill(values: pd.DataFrame, policy: str, day: int) -> pd.DataFrame:
    """Missing numbers from what came before: the same time of the day before, or the last one."""
    filled = values.copy()
    if policy == "day_before":
        for _ in range(len(values) // day):  # a gap of several days is filled day by day
            if not filled.isna().any(axis=None):
                break
            filled = filled.fillna(filled.shift(day))
    return filled.ffill().bfill()


def local_moment(text: str, zone: Any) -> pd.Timestamp:
    """The moment, where clocks change the first or the next that there is."""
    return pd.Timestamp(text).tz_localize(zone, ambiguous=True, nonexistent="shift_forward")


def splits(times: pd.DatetimeIndex, day: int, config: PrepareParams) -> Array:
    """train, validation, test by time; `start` where the week before is not known.

    The last part is the test; of the blocks of days before it, every so-manyth is for validation.
    times: local, with their zone.
    """
    number = len(times)
    if config.test_from:
        first = int(np.searchsorted(times, local_moment(config.test_from, times.tz)))
    else:
        first = round(number * (1 - config.test_share))
    since = np.maximum(np.arange(number) - DAYS * day, 0)
    block = since // (config.block_days * day)
    held = block % config.validation_every == config.validation_every - 1
    found = np.where(held, "validation", "train").astype(object)
    found[first:], found[: DAYS * day - 1] = "test", "start"
    for name in ("train", "validation", "test"):
        if (found == name).sum() < DAYS * day:
            raise SystemExit(f"prepare: less than a week is left for {name}; see section prepare")
    return found


def scale_signals(table: pd.DataFrame, names: list[str], train: Array) -> list[dict[str, Any]]:
    """Mean and deviation of each signal in the training part."""
    part = table[train]
    return [
        {
            "name": name,
            "mean": float(part[name].mean()),
            "deviation": max(float(part[name].std()), 1e-9),
        }
        for name in names
    ]


def write_market(config: PrepareParams, env: EnvParams, meta: dict[str, Any]) -> dict[str, Any]:
    """market.parquet and moments.safetensors; gives the whole meta.json."""
    table, battery = pd.read_parquet(CHECKED), physics.build(env.model_dump(), 24 / meta["day"])
    names = ["price", *meta["signals"]]
    table[names] = fill(table[names], config.gaps, meta["day"])
    local = pd.DatetimeIndex(table["timestamp"]).tz_localize("UTC").tz_convert(meta["timezone"])
    table["hour"] = local.hour + local.minute / 60
    table["weekend"] = (local.dayofweek >= 5).astype(float)
    table["split"] = splits(local, meta["day"], config)
    train = (table["split"] == "train").to_numpy()
    meta |= {"scales": scale_signals(table, meta["signals"], train)}
    meta |= {"usual_price": max(float(table["price"][train].abs().median()), 1e-6)}
    arrays = views.seen(table, battery, meta)._asdict()
    arrays["hindsight"] = views.hindsight(
        table["price"].to_numpy(), table["split"].to_numpy(), battery
    )
    table.to_parquet(PREPARED / "market.parquet", index=False)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()}, PREPARED / "moments.safetensors"
    )
    return meta


def watched(meta: dict[str, Any], observations: Array) -> dict[str, Array]:
    """What live records are compared with: prices of the training part, or random play."""
    if "usual_price" not in meta:
        return monitor.numbered(observations)
    history = market.read("train")
    weeks = np.lib.stride_tricks.sliding_window_view(history.prices, DAYS * meta["day"])
    ends = np.concatenate(history.segments) - (DAYS * meta["day"] - 1)
    return monitor.features(weeks[ends], meta["usual_price"])


def main() -> None:
    config = params.stage("prepare", PrepareParams)
    env, meta = params.read("env", EnvParams), params.read_json(RAW / "meta.json")
    shutil.rmtree(PREPARED, ignore_errors=True)  # a killed run may have left drafts
    PREPARED.mkdir(parents=True)
    if env.id == "battery":
        meta = write_market(config, env, meta)
        params.write_json(PREPARED / "meta.json", meta)
    observations, rewards = vectors.random_play(env, config.random_steps, config.seed)
    scale = {"mean": observations.mean(axis=0), "deviation": observations.std(axis=0)}
    params.write_json(
        PREPARED / "scales.json", {name: values.tolist() for name, values in scale.items()}
    )
    params.write_json(PREPARED / "meta.json", meta)
    usual = monitor.reference(observations, rewards, watched(meta, observations))
    params.write_json("reports/reference.json", usual)
    print(f"prepare: {env.id}, observations of {observations.shape[1]} numbers -> {PREPARED}")


if __name__ == "__main__":
    main()
