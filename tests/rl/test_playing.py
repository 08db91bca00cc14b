"""Playing is stepping the environment; learning is repeatable and goes on after a stop."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import learning
import numpy as np
import playable
import playing
import pytest
from env import BatteryEnv, EnvParams
from model import TrainParams

from rl import markets, policies, stages
from shared import params


def test_trading_is_stepping_the_environment() -> None:
    env, market = policies.environment(episode_days=10)
    generator = np.random.default_rng(0)
    actions = generator.integers(0, 3, 240)
    told = iter(actions)
    run = playing.trade(lambda _: np.array([next(told)]), market, env, market.segments[0][:240])
    one = BatteryEnv(market, env)
    seen, _ = one.reset(seed=0, options={"start": market.segments[0][0], "charge": 0.0})
    for i, action in enumerate(actions):
        assert np.array_equal(run.observations[i], seen)
        seen, _, _, _, info = one.step(action)
        assert (run.earned[i], run.power[i]) == (info["earned"], info["power"])
        assert run.charge[i + 1] == info["charge"]


def test_episodes_together_are_episodes_one_by_one() -> None:
    def rule(seen: np.ndarray) -> np.ndarray:
        return (seen[:, 2] + seen[:, 3] > 0).astype(int)

    returns, observations, actions = playing.episodes(rule, "CartPole-v1", 5, seed=7)
    for i, found in enumerate(returns):
        one = gymnasium.make("CartPole-v1")
        seen, total, over = one.reset(seed=7 + i)[0], 0.0, False
        while not over:
            seen, reward, terminated, truncated, _ = one.step(int(rule(seen[None])[0]))
            total, over = total + float(reward), terminated or truncated
        assert found == total
    assert len(observations) == len(actions) == returns.sum()


class Corridor(gymnasium.Env[Any, Any]):
    """Random play finds the door; who always goes left stands at the wall for ever."""

    observation_space: Any = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space: Any = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = 3
        return np.array([0.5], np.float32), {}

    def step(self, action: Any) -> Any:
        self.place = max(0, self.place + (1 if action else -1))
        here = np.array([self.place / 6], np.float32)
        return here, -0.01, self.place == 6, False, {}


@pytest.fixture
def corridor() -> Iterator[Callable[..., str]]:
    """Registers it with a limit or with none."""

    def register(limit: int | None) -> str:
        gymnasium.register("Corridor-v0", entry_point=Corridor, max_episode_steps=limit)
        return "Corridor-v0"

    yield register
    del gymnasium.registry["Corridor-v0"]


def left(seen: np.ndarray) -> np.ndarray:
    return np.zeros(len(seen), int)


def test_a_policy_whose_episode_never_ends_is_told_how_to_end_it(
    corridor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = corridor(None)
    monkeypatch.setattr(playable, "LONGEST", 2000)
    assert playable.examine(name, 20)[0]["stops"] == []
    wanted = r"env.id: Corridor-v0: .* not ended after 2000 steps; .*max_episode_steps=N"
    with pytest.raises(SystemExit, match=wanted):
        playing.episodes(left, name, 2, seed=0)
    monkeypatch.setattr(playable, "LONGEST", 4)
    with pytest.raises(SystemExit, match="not ended after 4 steps"):
        playable.examine(name, 20)


def test_an_episode_may_be_as_long_as_it_is_registered(
    corridor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = corridor(700)
    monkeypatch.setattr(playable, "LONGEST", 4)
    assert playing.episodes(left, name, 2, seed=0)[0].tolist() == pytest.approx([-7.0, -7.0])
    assert len(playable.examine(name, 5)[1]) == 5


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """A short history in the present folder; parameters, scales, and where policies go."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # one thread is fastest for small networks
    stages.history(tmp_path)
    changes: dict[str, Any] = {"ingest": {"signals": ["load"]}}
    stages.parameters(tmp_path, **changes)
    stages.run("ingest", "validate", "prepare")
    (tmp_path / "policies").mkdir()
    train = params.read("train", TrainParams)
    scales = params.read_json("data/prepared/scales.json")
    return params.read("env", EnvParams), train, scales, tmp_path / "policies"


def policy(folder: Path, seed: int = 0) -> bytes:
    return (folder / f"{seed}.safetensors").read_bytes()


def test_a_seed_learns_the_same_again_and_another_does_not(prepared: Any) -> None:
    *given, folder = prepared
    learning.learn(0, *given, folder, os.getpid())
    first, curve = policy(folder), params.read_json(folder / "0.json")
    assert len(curve) == 2 and curve[-1]["steps"] == 1024
    learning.learn(0, *given, folder, os.getpid())
    assert policy(folder) == first, "a seed that is done is left alone"
    (folder / "0.json").unlink()
    learning.learn(0, *given, folder, os.getpid())
    assert policy(folder) == first and params.read_json(folder / "0.json") == curve
    learning.learn(1, *given, folder, os.getpid())
    assert policy(folder, 1) != first


def test_learning_that_was_stopped_ends_as_if_it_had_not_been(
    prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    *given, folder = prepared
    learning.learn(0, *given, folder, os.getpid())
    whole, curve = policy(folder), params.read_json(folder / "0.json")
    for path in folder.iterdir():
        path.unlink()
    look = learning.Progress.look

    def stopped(self: Any) -> None:
        if self.curve:
            raise KeyboardInterrupt
        look(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(learning.Progress, "look", stopped)
        learning.learn(0, *given, folder, os.getpid())
    assert [path.name for path in folder.iterdir()] == ["0.checkpoint"]
    learning.learn(0, *given, folder, os.getpid())
    assert policy(folder) == whole and params.read_json(folder / "0.json") == curve
    assert not (folder / "0.checkpoint").exists()


def test_a_seed_whose_stage_is_gone_stops(prepared: Any) -> None:
    *given, folder = prepared
    with pytest.raises(SystemExit, match="is gone"):
        learning.learn(0, *given, folder, owner=2**22 + 1)
    assert not list(folder.iterdir())


def test_the_stage_keeps_the_best_seed_on_validation(prepared: Any) -> None:
    (Path("objectives.yaml")).write_text((stages.BLUEPRINT / "objectives.yaml").read_text())
    stages.run("train")
    chosen = params.read_json("models/model.json")
    best = max(chosen["validation"], key=chosen["validation"].get)
    assert str(chosen["chosen"]) == best and not Path("checkpoint").exists()
    assert sorted(path.name for path in Path("models").glob("*.safetensors")) == [
        "0.safetensors",
        "1.safetensors",
    ]
    assert Path("models/curve.csv").read_text().startswith("seed,steps,validation")


def test_other_parameters_or_data_have_another_checkpoint(prepared: Any) -> None:
    import train

    env, config, _, _ = prepared
    first = train.checkpoint_folder(config, env)
    assert train.checkpoint_folder(config, env) == first
    assert train.checkpoint_folder(config.model_copy(update={"steps": 5}), env) != first
    assert not first.exists(), "what belongs to other parameters goes"
    again = train.checkpoint_folder(config, env)
    (Path("data/prepared/meta.json")).write_text("{}")
    assert train.checkpoint_folder(config, env) != again
    assert markets.ENV["id"] == env.id


@pytest.mark.parametrize("actions", [None, 5])
def test_trading_is_stepping_with_a_ramp_and_any_actions(actions: int | None) -> None:
    env, market = policies.environment(episode_days=5, ramp_mw=0.3, actions=actions)
    generator = np.random.default_rng(1)
    if actions is None:
        told = generator.uniform(-1.5, 1.5, (100, 1)).astype(np.float32)
    else:
        told = generator.integers(0, actions, 100)
    said = iter(told)
    run = playing.trade(lambda _: next(said)[None], market, env, market.segments[0][50:150])
    one = BatteryEnv(market, env)
    one.reset(seed=0, options={"start": market.segments[0][50], "charge": 0.0})
    found = [one.step(action)[4] for action in told]
    assert run.earned.tolist() == [info["earned"] for info in found]
    assert run.charge.tolist() == [0.0, *(info["charge"] for info in found)]
    assert np.array_equal(run.actions, told) and np.abs(np.diff(run.power)).max() <= 0.3 + 1e-9


def test_an_action_is_a_share_of_full_power() -> None:
    env, _ = policies.environment(actions=5)
    assert playing.share(np.arange(5), env).tolist() == [-1, -0.5, 0, 0.5, 1]
    free = env.model_copy(update={"actions": None})
    assert playing.share(np.array([[-7.0], [0.25], [1.5]]), free).tolist() == [-1, 0.25, 1]


def test_an_episode_is_that_of_its_seed_whatever_runs_beside_it() -> None:
    def rule(seen: np.ndarray) -> np.ndarray:
        return (np.clip(-seen[:, 1:2] - seen[:, 2:], -2, 2)).astype(np.float32)

    three, _, actions = playing.episodes(rule, "Pendulum-v1", 3, seed=4)
    for i in range(3):
        alone, observations, _ = playing.episodes(rule, "Pendulum-v1", 1, seed=4 + i)
        assert alone[0] == three[i] and observations.shape == (200, 3)
    assert len(set(three)) == 3 and actions.shape == (600, 1)


def test_validation_is_the_money_of_all_segments_or_the_mean_of_known_episodes() -> None:
    env, market = policies.environment()
    parts = [market.segments[0][:60], market.segments[0][100:130]]
    model = policies.learnt(market, env, policies.config(steps=128))
    act, held = playing.deterministic(model), market._replace(segments=parts)
    alone = sum(playing.trade(act, market, env, part).earned.sum() for part in parts)
    assert learning.validate(act, env, held, policies.config()) == pytest.approx(alone)

    def right(seen: np.ndarray) -> np.ndarray:
        return np.ones(len(seen), int)

    other, config = env.model_copy(update={"id": "CartPole-v1"}), policies.config()
    known = playing.episodes(right, "CartPole-v1", config.validation_episodes, 10_000)[0]
    assert learning.validate(right, other, None, config) == known.mean()
