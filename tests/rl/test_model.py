"""Algorithms by name; mistakes in params.yaml name the key."""

import tempfile
from pathlib import Path

import model
import numpy as np
import pytest
import vectors

from rl import policies


def test_an_unknown_algorithm_or_hyperparameter_is_named() -> None:
    with pytest.raises(SystemExit, match=r"train.algorithm: PP0 is none of .*PPO"):
        model.algorithm("PP0")
    with pytest.raises(SystemExit, match=r"train.hyperparameters.gama: unknown to PPO"):
        model.arguments("PPO", {"gama": 0.9}, decay=False)
    with pytest.raises(SystemExit, match=r"hyperparameters.device"):
        model.arguments("PPO", {"device": "cpu"}, decay=False)


def test_the_learning_rate_falls_in_a_line() -> None:
    rate = model.arguments("PPO", {"learning_rate": 0.01}, decay=True)["learning_rate"]
    assert (rate(1.0), rate(0.5), rate(0.0)) == (0.01, 0.005, 0.0)
    assert model.arguments("PPO", {"learning_rate": 0.01}, decay=False)["learning_rate"] == 0.01


def test_an_algorithm_that_does_not_fit_the_actions_says_so() -> None:
    env, market = policies.environment()
    many = vectors.BatteryVector(market, env, 2, seed=0)
    train = policies.config(algorithm="SAC", hyperparameters={})
    with pytest.raises(SystemExit, match=r"params.yaml: train: SAC"):
        model.build(train, many, policies.scales(many.observation_space.shape[0]), 0)


def test_a_saved_policy_does_the_same(tmp_path: Path) -> None:
    env, market = policies.environment()
    train = policies.config()
    first = policies.learnt(market, env, train)
    model.save(first, tmp_path / "0.safetensors")
    many = vectors.BatteryVector(market, env, 1, seed=0)
    second = model.load(
        tmp_path / "0.safetensors", train, many, policies.scales(many.observation_space.shape[0])
    )
    seen = np.random.default_rng(0).normal(size=(50, many.observation_space.shape[0]))
    seen = seen.astype(np.float32)
    actions = [one.predict(seen, deterministic=True)[0] for one in (first, second)]
    assert np.array_equal(*actions)


def test_learning_leaves_no_folder_behind_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    env, market = policies.environment()
    policies.learnt(market, env, policies.config())
    assert not (tmp_path / "temporary").exists()
    asked = policies.config(hyperparameters={"verbose": 1, "n_steps": 32, "batch_size": 64})
    policies.learnt(market, env, asked)
    assert list((tmp_path / "temporary").glob("SB3-*")), "the library's own logger"
