"""Many environments that step together, as Stable-Baselines3 wants them."""

from typing import Any

import gymnasium
import numpy as np
from env import BatteryEnv, EnvParams, Trading, spaces
from market import Market, read
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

Array = np.ndarray


class BatteryVector(VecEnv):
    """Many batteries in one process: a step of all of them is a few operations of numpy."""

    def __init__(self, market: Market, config: EnvParams, number: int, seed: int) -> None:
        self.trading, self.actions = Trading(market, config, number, seed), np.zeros(number)
        self.trading.render_mode = None  # SB3 asks for it
        super().__init__(number, *spaces(market, config))

    def reset(self) -> Array:
        self.trading.begin(np.arange(self.num_envs))
        return self.trading.observe()

    def step_async(self, actions: Array) -> None:
        self.actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        state = self.trading
        reward, over = state.step(self.actions), state.over
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if over.any():
            which = np.flatnonzero(over)
            for i, seen in zip(which, state.observe()[which], strict=True):
                episode = {"r": float(state.total[i]), "l": int(state.age[i])}
                infos[i] = {"terminal_observation": seen, "TimeLimit.truncated": True}
                infos[i]["episode"] = episode
            state.begin(which)
        return state.observe(), reward, over, infos

    def close(self) -> None:
        """Nothing is open."""

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [wrapper_class.__name__ == "Monitor"] * self.num_envs  # episodes are in `infos`

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.trading, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"{attr_name}: change params.yaml instead")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **more: Any) -> Any:
        raise AttributeError(f"batteries have no method {method_name}")


def many(config: EnvParams, split: str, number: int, seed: int) -> VecEnv:
    """So many environments of params.yaml on a split of the data."""
    if config.id == "battery":
        return BatteryVector(read(split), config, number, seed)
    return make_vec_env(config.id, number, seed=seed)


def one(config: EnvParams, split: str) -> gymnasium.Env[Any, Any]:
    """A single environment of params.yaml on a split of the data."""
    return BatteryEnv(read(split), config) if config.id == "battery" else gymnasium.make(config.id)


def random_play(config: EnvParams, steps: int, seed: int) -> tuple[Array, Array]:
    """Observations [n, columns] and rewards [n] of actions drawn evenly, on the training part."""
    number = 32
    env = many(config, "train", number, seed)
    env.action_space.seed(seed)
    seen, rewards = [np.asarray(env.reset())], []
    for _ in range(-(-steps // number)):
        drawn = np.array([env.action_space.sample() for _ in range(number)])
        observation, reward, _, _ = env.step(drawn)
        seen.append(np.asarray(observation))
        rewards.append(reward)
    env.close()
    return np.concatenate(seen), np.concatenate(rewards)
