"""A small policy, learnt in seconds and exported, for tests of what serves it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rl import markets
from shared import params

TRAIN = {
    "algorithm": "PPO",
    "hyperparameters": {"n_steps": 32, "batch_size": 64, "n_epochs": 2, "learning_rate": 1e-3},
    "decay": True,
    "network": (16,),
    "steps": 512,
    "environments": 4,
    "seeds": (0,),
    "validations": 2,
    "validation_episodes": 2,
    "jobs": 1,
    "device": "cpu",
}


def config(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**(TRAIN | changes))


def scales(width: int) -> dict[str, list[float]]:
    return {"mean": [0.0] * width, "deviation": [1.0] * width}


def learnt(market: Any, env: Any, train: Any) -> Any:
    import vectors
    from model import build

    many = vectors.BatteryVector(market, env, train.environments, seed=0)
    model = build(train, many, scales(many.observation_space.shape[0]), seed=0)
    return model.learn(train.steps)


def exported(folder: Path, env: Any, market: Any, train: Any) -> Any:
    """A Predictor on `folder`, and the model that it was exported from."""
    import monitor
    import vectors
    from graph import write_onnx
    from predictor import Predictor

    model = learnt(market, env, train)
    write_onnx(model, folder / "policy.onnx")
    many = vectors.BatteryVector(market, env, 8, seed=1)
    seen = [many.reset()]
    for _ in range(100):
        seen.append(many.step(np.array([many.action_space.sample() for _ in range(8)]))[0])
    profile = monitor.reference(np.concatenate(seen), np.zeros(8), {})["profile"]
    meta = {
        "env": env.model_dump(),
        "columns": many.observation_space.shape[0],
        "profile": {name: profile[name] for name in ("low", "high")},
        "day": market.day,
        "timezone": "UTC",
        "signals": [],
        "scales": [],
        "usual_price": 40.0,
        "fixed_hours": {"3": 1.0, "18": -1.0},
    }
    params.write_json(folder / "model.json", meta)
    return Predictor(folder), model


def environment(**changes: Any) -> tuple[Any, Any]:
    """EnvParams and a market."""
    from env import EnvParams

    env = EnvParams(**(markets.ENV | changes))
    return env, markets.market(env)
