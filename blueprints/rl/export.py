"""Stage `export`: models/ -> export/ (policy.onnx, model.json), export.json.

export.json says whether the graph does what Stable-Baselines3 does at every step of the test, and
how fast it is.
"""

import shutil
from pathlib import Path
from typing import Any

import baselines
import battery as physics
import gymnasium
import market
import monitor
import numpy as np
import pandas as pd
import playing
import torch
import vectors
from env import EnvParams
from graph import write_onnx
from market import PREPARED
from model import MODELS, TrainParams, load
from predictor import Predictor
from pydantic import PositiveInt

from shared import exporting, params

EXPORT = Path("export")
Array = np.ndarray
Json = dict[str, Any]
CLOSE = 1e-4  # of an action's range


class ExportParams(params.Params):
    latency_calls: PositiveInt


def describe(env: EnvParams, actions: Array, observations: Array) -> Json:
    """model.json: everything that the predictor and the monitor must know beside the graph.

    actions, observations: of the test part.
    """
    profile = params.read_json("reports/reference.json")["profile"]
    meta: Json = {"env": env.model_dump(), "columns": len(profile["low"])}
    meta["profile"] = {name: profile[name] for name in ("low", "high")}
    meta |= params.read_json(PREPARED / "meta.json") | {"env": env.model_dump()}
    if actions.dtype.kind == "i":
        numbers = np.bincount(actions.ravel()) / actions.size
        meta["action_mix"] = {str(i): float(share) for i, share in enumerate(numbers)}
        meta["action_rows"] = actions.size
    if env.id == "battery":
        table = pd.read_parquet(PREPARED / "market.parquet")
        battery = physics.build(env.model_dump(), 24 / meta["day"])
        rule = baselines.fixed_hours(table[table["split"] == "train"], battery)
        meta["fixed_hours"] = {f"{hour:g}": share for hour, share in rule.items() if share}
    else:  # a policy sees other things than random play does
        meta["numbers"] = monitor.shares(monitor.numbered(observations))
    return meta


def test_play(act: playing.Act, env: EnvParams) -> tuple[Array, Array, float]:
    """Observations and actions of the test part, and the profit or mean return."""
    if env.id == "battery":
        history = market.read("test")
        run = playing.trade(act, history, env, np.concatenate(history.segments), "test")
        return run.observations, run.actions, float(run.earned.sum())
    returns, seen, actions = playing.episodes(act, env.id, 20, seed=20_000)
    return seen, actions, float(returns.mean())


def parity(ours: Array, theirs: Array, space: gymnasium.Space[Any]) -> dict[str, float]:
    """Largest difference of actions [n, ...], and the share of those that are the same decision:
    numbers of actions where they are equal, amounts where all are within CLOSE of their range."""
    ours, theirs = (values.reshape(len(theirs), -1).astype(float) for values in (ours, theirs))
    boxed = isinstance(space, gymnasium.spaces.Box)
    most = CLOSE * (space.high - space.low).ravel().astype(float) if boxed else 0.0

    def is_theirs(values: Array) -> Array:
        return np.asarray((np.abs(values - theirs) <= most).all(axis=1))

    return exporting.parity(ours, theirs, decide=is_theirs)


def main() -> None:
    config, env = params.stage("export", ExportParams), params.read("env", EnvParams)
    train, scales = params.read("train", TrainParams), params.read_json(PREPARED / "scales.json")
    chosen = params.read_json(MODELS / "model.json")["chosen"]
    spaces = vectors.many(env, "train", train.environments, 0)
    model = load(MODELS / f"{chosen}.safetensors", train, spaces, scales)
    shutil.rmtree(EXPORT, ignore_errors=True)
    EXPORT.mkdir()
    write_onnx(model, EXPORT / "policy.onnx")
    observations, theirs, score = test_play(playing.deterministic(model), env)
    params.write_json(EXPORT / "model.json", describe(env, theirs, observations))
    predictor = Predictor(EXPORT)
    found = parity(predictor.act(observations), theirs, model.action_space)
    _, _, again = test_play(predictor.act, env)
    found |= {"score_difference": abs(again - score) / max(abs(score), 1e-9)}
    found |= {"size_mb": exporting.size_mb(*EXPORT.iterdir())}
    torch.set_num_threads(1)
    calls = {"onnx": predictor.act, "sb3": playing.deterministic(model)}
    some = [row[None] for row in observations[: config.latency_calls]]
    times = exporting.latencies_ms(calls, some, in_a_row=5)
    found |= {"latency_p50_ms": times["onnx"], "speedup": times["sb3"] / times["onnx"]}
    params.write_json("export.json", {"onnx": found, "sb3": {"latency_p50_ms": times["sb3"]}})
    agreement, speed = found["decision_agreement"], found["speedup"]
    print(
        f"export: seed {chosen}, agreement {agreement:.4f}, {speed:.0f} times as fast -> {EXPORT}"
    )


if __name__ == "__main__":
    main()
