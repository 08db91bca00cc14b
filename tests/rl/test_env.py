"""The environment keeps gymnasium's rules, is repeatable, and its vector is many of it."""

import warnings
from typing import Any

import env as environments
import numpy as np
import planning
import pytest
import vectors
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_for_sb3

from rl import markets


def build(**changes: Any) -> tuple[Any, Any]:
    config = environments.EnvParams(**(markets.ENV | changes))
    return config, markets.market(config)


KINDS = [{}, {"actions": None}, {"ramp_mw": 0.5}, {"actions": 5}, {"grid_import_mw": 0.3}]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_the_rules_of_gymnasium_and_of_sb3_hold(changes: dict[str, Any]) -> None:
    config, market = build(**changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(environments.BatteryEnv(market, config), skip_render_check=True)
        check_for_sb3(environments.BatteryEnv(market, config))


def episode(env: Any, seed: int) -> list[Any]:
    seen, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    found, over = [seen], False
    while not over:
        seen, reward, terminated, truncated, info = env.step(env.action_space.sample())
        found += [seen, reward, info["earned"], info["charge"]]
        over = terminated or truncated
    return found


def test_a_seed_gives_the_same_episode_again() -> None:
    config, market = build()
    one, other = (episode(environments.BatteryEnv(market, config), 3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert len(one) == 1 + 4 * 48, "two days of hours"
    third = episode(environments.BatteryEnv(market, config), 4)
    assert not np.array_equal(one[0], third[0])


def test_the_vector_is_many_single_ones() -> None:
    config, market = build()
    many = vectors.BatteryVector(market, config, 3, seed=0)
    seen = many.reset()
    singles = [environments.BatteryEnv(market, config) for _ in range(3)]
    for i, env in enumerate(singles):
        start, charge = int(many.trading.at[i]), float(many.trading.charge[i])
        first, _ = env.reset(seed=0, options={"start": start, "charge": charge})
        assert np.array_equal(first, seen[i])
    generator = np.random.default_rng(0)
    for _ in range(47):
        actions = generator.integers(0, 3, 3)
        seen, rewards, _, _ = many.step(actions)
        for i, env in enumerate(singles):
            one, reward, _, _, _ = env.step(actions[i])
            assert np.array_equal(one, seen[i]) and reward == pytest.approx(float(rewards[i]))
    _, _, over, infos = many.step(generator.integers(0, 3, 3))
    assert over.all() and all(info["TimeLimit.truncated"] for info in infos)
    assert all(info["episode"]["l"] == 48 for info in infos)


def test_regret_is_never_above_zero_and_nothing_for_the_best() -> None:
    """With levels of whole steps, the potential is exact: regret is the loss by each action."""
    config, market = build(reward_clip=1e9)
    trading = environments.Trading(market, config, 200, seed=1)
    trading.charge = np.round(trading.charge)
    before, at, unit = trading.charge.copy(), trading.at.copy(), market.seen.unit[trading.at]
    regrets = []
    for action in range(3):
        trading.charge, trading.at = before.copy(), at.copy()
        regrets.append(trading.step(np.full(200, action)) * unit)
    assert np.max(regrets) < 1e-3
    assert np.abs(np.max(regrets, axis=0)).max() < 1e-3, "one of the three is the best"


def test_regret_adds_up_to_money_less_the_optimum() -> None:
    config, market = build(reward_clip=1e9)
    trading = environments.Trading(market, config, 20, seed=2)
    first, charge = trading.at.copy(), trading.charge.copy()
    generator, total, earned = np.random.default_rng(0), np.zeros(20), np.zeros(20)
    for _ in range(48):
        unit = market.seen.unit[trading.at]
        total += trading.step(generator.integers(0, 3, 20)) * unit
        earned += trading.earned
    worth = planning.worth(trading.battery, market.hindsight[first], charge)
    left = planning.worth(trading.battery, market.hindsight[trading.at], trading.charge)
    assert total == pytest.approx(earned + left - worth, abs=0.05)


def test_a_spike_is_clipped_in_the_reward_and_not_in_the_money() -> None:
    config, market = build(reward="money", reward_clip=2.0)
    trading = environments.Trading(market, config, 1, seed=0)
    trading.at[0] = int(np.argmax(market.prices[200:400])) + 200
    trading.charge[0] = 4.0
    reward = trading.step(np.array([0]))
    assert reward[0] == 2.0 and trading.earned[0] > 100


def test_an_episode_longer_than_the_data_is_cut() -> None:
    config, market = build(episode_days=1000)
    with pytest.raises(SystemExit, match=r"env\.episode_days"):
        environments.Trading(market, config, 1, seed=0)


def test_an_episode_renders_as_a_picture() -> None:
    config, market = build()
    env = environments.BatteryEnv(market, config, render_mode="rgb_array")
    env.reset(seed=0)
    for action in (2, 2, 0):
        env.step(action)
    picture = env.render()
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.std() > 10
