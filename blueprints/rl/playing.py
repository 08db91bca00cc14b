"""Play a policy to the end and write down what happened: a battery's history, or returns."""

from collections.abc import Callable
from typing import NamedTuple

import battery as physics
import features
import gymnasium
import numpy as np
import playable
from env import EnvParams
from market import Market
from stable_baselines3.common.base_class import BaseAlgorithm
from tqdm import tqdm

Array = np.ndarray
Act = Callable[[Array], Array]  # [n, columns] observations -> [n] or [n, parts] actions


def deterministic(model: BaseAlgorithm) -> Act:
    """A model's policy without exploration."""
    return lambda observations: model.predict(observations, deterministic=True)[0]


class Trajectory(NamedTuple):
    """One battery through t steps."""

    steps: Array  # [t] places in the market
    charge: Array  # [t + 1] MWh
    power: Array  # [t] MW
    earned: Array  # [t]
    observations: Array  # [t, columns]
    actions: Array  # [t]


def trade(
    act: Act, market: Market, config: EnvParams, segment: Array, title: str = ""
) -> Trajectory:
    """The policy through a segment, from an empty battery; progress is shown if it has a title."""
    battery = physics.build(config.model_dump(), market.step_hours)
    charge, before = np.zeros(len(segment) + 1), np.zeros(1)
    power, observations, actions = np.zeros(len(segment)), [], []
    for i, at in enumerate(tqdm(segment, desc=title, disable=not title, leave=False)):
        here, seen = charge[i : i + 1], market.at(np.array([at]))
        observation = features.observe(battery, seen, here, before)
        action = act(observation)
        before = physics.power(battery, share(action, config), here, before)
        power[i], charge[i + 1] = before[0], physics.move(battery, here, before).charge[0]
        observations.append(observation[0])
        actions.append(action[0])
    moved = physics.move(battery, charge[:-1], power)
    earned = physics.money(battery, market.prices[segment], moved)
    return Trajectory(segment, charge, power, earned, np.array(observations), np.array(actions))


def share(action: Array, config: EnvParams) -> Array:
    """[n] what an action asks for, from -1 (all out) to 1 (all in)."""
    if config.actions is None:
        return np.clip(np.asarray(action, float).reshape(len(action)), -1, 1)
    return np.linspace(-1, 1, config.actions)[np.asarray(action).reshape(len(action))]


def episodes(act: Act, name: str, number: int, seed: int) -> tuple[Array, Array, Array]:
    """Returns [number] of one episode each from seeds seed, seed + 1, ...; the observations and
    actions on the way. SystemExit where one does not end."""
    envs = [gymnasium.make(name) for _ in range(number)]
    seen = np.stack([env.reset(seed=seed + i)[0] for i, env in enumerate(envs)])
    totals, alive = np.zeros(number), np.arange(number)
    observations, actions = [], []
    while len(alive):
        playable.must_end(envs[0], len(actions) + 1)
        chosen = act(seen[alive].astype(np.float32))
        observations.append(seen[alive])
        actions.append(chosen)
        going = []
        for i, action in zip(alive, chosen, strict=True):
            seen[i], reward, terminated, truncated, _ = envs[i].step(action)
            totals[i] += float(reward)
            if not (terminated or truncated):
                going.append(i)
        alive = np.array(going, dtype=int)
    for env in envs:
        env.close()
    return totals, np.concatenate(observations).astype(np.float32), np.concatenate(actions)
