"""Learning that stops and goes on ends where undisturbed learning ends."""

from pathlib import Path
from typing import Any

import checkpoint
import numpy as np
import pytest
import vectors
from model import build

from rl import policies


def model(env: Any, market: Any, train: Any) -> Any:
    many = vectors.BatteryVector(market, env, train.environments, seed=0)
    return build(train, many, policies.scales(many.observation_space.shape[0]), seed=0)


def weights(found: Any) -> dict[str, Any]:
    return {name: value.numpy() for name, value in found.policy.state_dict().items()}


def test_ppo_goes_on_exactly(tmp_path: Path) -> None:
    from stable_baselines3.common.callbacks import BaseCallback

    env, market = policies.environment()
    train = policies.config(steps=1024, decay=True)

    class Stop(BaseCallback):
        def _on_rollout_start(self) -> None:
            if self.model.num_timesteps == 512:
                checkpoint.write(tmp_path / "state", self.model, {}, {"curve": [1]})

        def _on_step(self) -> bool:
            return True

    whole = model(env, market, train).learn(1024, callback=Stop())
    again = model(env, market, train)
    again.learn(64)  # whatever state it has is replaced
    best, state = checkpoint.read(tmp_path / "state", again)
    assert again.num_timesteps == 512 and state == {"curve": [1]} and best == {}
    again.learn(512, reset_num_timesteps=False)
    assert again.num_timesteps == whole.num_timesteps
    for name, value in weights(whole).items():
        assert np.array_equal(value, weights(again)[name]), name


@pytest.mark.parametrize(
    ("algorithm", "actions", "more"),
    [("DQN", 3, {}), ("SAC", None, {"gradient_steps": 1}), ("A2C", 3, {"n_steps": 16})],
)
def test_others_keep_weights_optimizers_and_memories(
    tmp_path: Path, algorithm: str, actions: int | None, more: dict[str, Any]
) -> None:
    env, market = policies.environment(actions=actions)
    memory = {"buffer_size": 2000, "learning_starts": 64} if algorithm in ("DQN", "SAC") else {}
    train = policies.config(algorithm=algorithm, hyperparameters={**more, **memory}, decay=False)
    first = model(env, market, train).learn(256)
    checkpoint.write(tmp_path / "state", first, {}, {})
    second = model(env, market, train)
    checkpoint.read(tmp_path / "state", second)
    for name, value in weights(first).items():
        assert np.array_equal(value, weights(second)[name]), name
    if memory:
        assert second.replay_buffer.pos == first.replay_buffer.pos
        assert np.array_equal(second.replay_buffer.rewards, first.replay_buffer.rewards)
    if algorithm == "SAC":
        assert float(second.log_ent_coef) == float(first.log_ent_coef)
    second.learn(64, reset_num_timesteps=False)
    assert second.num_timesteps == 320


def test_nothing_written_is_nothing_read(tmp_path: Path) -> None:
    env, market = policies.environment()
    assert checkpoint.read(tmp_path / "none", model(env, market, policies.config())) is None
