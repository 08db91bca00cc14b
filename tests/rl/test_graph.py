"""The graph does what Stable-Baselines3's `predict` does, for its algorithms and actions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graph
import gymnasium
import numpy as np
import onnxruntime
import pytest
import torch
import vectors
from env import EnvParams
from model import build

from rl import markets, policies

MEMORY = {"buffer_size": 1000, "learning_starts": 32}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """With more, small networks wait for each other where processors are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("algorithm", "actions", "more"),
    [
        ("PPO", 3, {"n_steps": 32, "batch_size": 64}),
        ("PPO", None, {"n_steps": 32, "batch_size": 64}),
        ("A2C", 5, {"n_steps": 16}),
        ("DQN", 3, MEMORY),
        ("SAC", None, MEMORY),
        ("TD3", None, MEMORY),
    ],
)
def test_onnx_acts_as_predict(
    tmp_path: Path, algorithm: str, actions: int | None, more: dict[str, Any]
) -> None:
    env, market = policies.environment(actions=actions)
    train = policies.config(algorithm=algorithm, hyperparameters=more, decay=False, steps=128)
    model = policies.learnt(market, env, train)
    graph.write_onnx(model, tmp_path / "policy.onnx")
    assert b".py" not in (tmp_path / "policy.onnx").read_bytes(), "no file of its maker"
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"], "no weights beside it"
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
    width = model.observation_space.shape[0]
    seen = np.random.default_rng(0).normal(0, 3, (200, width)).astype(np.float32)
    theirs, _ = model.predict(seen, deterministic=True)
    for number in (1, 2, 7, 200):
        (ours,) = session.run(None, {"observation": seen[:number]})
        assert ours.reshape(theirs[:number].shape) == pytest.approx(theirs[:number], abs=1e-5)
    if actions is None:
        assert np.abs(theirs).max() <= 1
    normal = torch.distributions.Normal(torch.zeros(1), torch.ones(1))
    with pytest.raises(ValueError, match="within the support"):
        normal.log_prob(torch.tensor([float("nan")]))


ON_POLICY = {"n_steps": 32, "batch_size": 64}


class Uneven(gymnasium.Env[Any, Any]):
    """Two actions with limits of their own, far from -1 to 1."""

    observation_space: Any = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space: Any = gymnasium.spaces.Box(
        np.array([2, -7], np.float32), np.array([3, 0.5], np.float32)
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        seen = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return seen, float(action.sum()), False, bool(self.np_random.random() < 0.1), {}


@pytest.fixture
def uneven() -> Iterator[str]:
    gymnasium.register("Uneven-v0", entry_point=Uneven)
    yield "Uneven-v0"
    del gymnasium.registry["Uneven-v0"]


def model_of(game: str, algorithm: str, more: dict[str, Any]) -> Any:
    env = EnvParams(**(markets.ENV | {"id": game}))
    many = vectors.many(env, "train", 2, 0)
    train = policies.config(algorithm=algorithm, hyperparameters=more, decay=False)
    model = build(train, many, policies.scales(many.observation_space.shape[0]), 0)
    return model.learn(128)


def both(model: Any, folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """What the graph says to random observations, and what `predict` does."""
    graph.write_onnx(model, folder / "policy.onnx")
    session = onnxruntime.InferenceSession(str(folder / "policy.onnx"))
    seen = np.random.default_rng(1).normal(0, 3, (number, model.observation_space.shape[0]))
    seen = seen.astype(np.float32)
    (ours,) = session.run(None, {"observation": seen})
    return ours, model.predict(seen, deterministic=True)[0]


@pytest.mark.parametrize(
    ("algorithm", "more"),
    [
        ("PPO", ON_POLICY),
        ("PPO", ON_POLICY | {"use_sde": True}),
        ("SAC", MEMORY),
        ("SAC", MEMORY | {"use_sde": True}),
        ("TD3", MEMORY),
    ],
)
def test_actions_are_scaled_and_cut_to_the_limits_of_the_environment(
    uneven: str, tmp_path: Path, algorithm: str, more: dict[str, Any]
) -> None:
    model = model_of(uneven, algorithm, more)
    with torch.no_grad():
        for name, weight in model.policy.named_parameters():
            if name.startswith(("action_net", "actor.mu")):
                weight.mul_(30)
    ours, theirs = both(model, tmp_path, 300)
    assert ours == pytest.approx(theirs, abs=1e-4)
    low, high = Uneven.action_space.low, Uneven.action_space.high
    assert (theirs >= low - 1e-5).all() and (theirs <= high + 1e-5).all()
    from_limit = np.minimum(theirs - low, high - theirs) / (high - low)
    assert (from_limit.min(axis=0) < 0.03).all(), "large actions are there"


@pytest.mark.parametrize(("algorithm", "more"), [("DQN", MEMORY), ("A2C", {}), ("PPO", ON_POLICY)])
def test_another_environment_is_exported_alike(
    tmp_path: Path, algorithm: str, more: dict[str, Any]
) -> None:
    ours, theirs = both(model_of("CartPole-v1", algorithm, more), tmp_path, 300)
    assert ours.dtype == np.int64 and np.array_equal(ours, theirs)
    assert len(np.unique(theirs)) == 2 or algorithm == "DQN"


def test_the_checks_of_distributions_are_on_again_after_a_failure(tmp_path: Path) -> None:
    env, market = policies.environment()
    model = policies.learnt(market, env, policies.config(steps=128))
    with pytest.raises(Exception, match="nowhere"):
        graph.write_onnx(model, tmp_path / "nowhere/policy.onnx")
    assert torch.distributions.Distribution._validate_args is True
    assert not list(tmp_path.iterdir())
