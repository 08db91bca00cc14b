"""The environment: batteries that trade in a history of prices.

`Trading` steps any number of them at a time; `BatteryEnv` is one of them for everything that speaks
gymnasium, and `vectors.py` many of them for Stable-Baselines3. `env.id` in params.yaml names this
environment (`battery`) or any other that gymnasium knows.
"""

from typing import Any, Literal

import battery as physics
import features
import gymnasium
import numpy as np
import planning
from battery import Battery, BatteryParams
from market import Market
from pydantic import Field, PositiveFloat

Array = np.ndarray


class EnvParams(BatteryParams):
    id: str
    actions: int | None = Field(ge=2)
    episode_days: PositiveFloat
    reward: Literal["regret", "money"]
    reward_clip: PositiveFloat


class Trading:
    """n batteries, each at its own step of the market's history; all of it steps at once."""

    def __init__(self, market: Market, config: EnvParams, number: int, seed: int | None) -> None:
        self.market, self.config, self.number = market, config, number
        self.battery: Battery = physics.build(config.model_dump(), market.step_hours)
        self.length = round(config.episode_days * market.day)
        last = [segment[: max(0, len(segment) - self.length)] for segment in market.segments]
        self.starts = np.concatenate(last)
        if not len(self.starts):
            raise SystemExit("params.yaml: env.episode_days: no part of the data is longer")
        self.generator = np.random.default_rng(seed)
        self.at = np.zeros(number, dtype=np.int64)
        self.age = np.zeros(number, dtype=np.int64)
        self.charge, self.power = np.zeros(number), np.zeros(number)
        self.earned, self.total = np.zeros(number), np.zeros(number)
        self.begin(np.arange(number))

    def begin(self, which: Array) -> None:
        """New episodes at a moment and with a charge drawn from all that there are."""
        self.at[which] = self.generator.choice(self.starts, len(which))
        self.charge[which] = self.generator.uniform(0, self.battery.energy_mwh, len(which))
        self.power[which], self.age[which], self.total[which] = 0.0, 0, 0.0

    def observe(self) -> Array:
        seen = self.market.at(self.at)
        return features.observe(self.battery, seen, self.charge, self.power)

    def share(self, action: Array) -> Array:
        """What an action of the policy asks for, from -1 (all out) to 1 (all in)."""
        if self.config.actions is None:
            return np.clip(np.asarray(action, float).reshape(self.number), -1, 1)
        return np.linspace(-1, 1, self.config.actions)[np.asarray(action).reshape(self.number)]

    def step(self, action: Array) -> Array:
        """All batteries move on by one step; [n] rewards."""
        price, unit = self.market.seen.price[self.at], self.market.seen.unit[self.at]
        power = physics.power(self.battery, self.share(action), self.charge, self.power)
        moved = physics.move(self.battery, self.charge, power)
        self.earned = physics.money(self.battery, price, moved)
        reward = self.earned
        if self.config.reward == "regret":
            reward = reward + self.foreseen(self.at + 1, moved.charge)
            reward = reward - self.foreseen(self.at, self.charge)
        reward = reward / (unit * self.battery.power_mw * self.battery.step_hours)
        reward = np.clip(reward, -self.config.reward_clip, self.config.reward_clip)
        self.charge, self.power = moved.charge, power
        self.at, self.age, self.total = self.at + 1, self.age + 1, self.total + reward
        return reward.astype(np.float32)

    def foreseen(self, at: Array, charge: Array) -> Array:
        """What the charge is worth to one who knows the prices to come: a potential that shapes
        the reward into regret without moving the best policy (Ng, Harada and Russell 1999)."""
        return planning.worth(self.battery, self.market.hindsight[at], charge)

    @property
    def over(self) -> Array:
        return self.age >= self.length


def spaces(market: Market, config: EnvParams) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """Of observations and of actions."""
    battery = physics.build(config.model_dump(), market.step_hours)
    width = features.width(battery, market.day, market.signals)
    seen = gymnasium.spaces.Box(-features.BOUND, features.BOUND, (width,), np.float32)
    if config.actions is None:
        return seen, gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    return seen, gymnasium.spaces.Discrete(config.actions)


class BatteryEnv(gymnasium.Env[Array, Any]):
    """One battery, for everything that speaks gymnasium."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 (gymnasium's own)

    def __init__(self, market: Market, config: EnvParams, render_mode: str | None = None) -> None:
        self.market, self.config, self.render_mode = market, config, render_mode
        self.past: list[tuple[int, float, float]] = []
        self.observation_space, self.action_space = spaces(market, config)
        self.trading = Trading(market, config, 1, None)

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Array, dict[str, Any]]:
        """options: {"start": step of the history, "charge": MWh} instead of drawn ones."""
        super().reset(seed=seed)
        self.trading.generator = self.np_random
        self.trading.begin(np.arange(1))
        if options:
            self.trading.at[0] = options.get("start", self.trading.at[0])
            self.trading.charge[0] = options.get("charge", self.trading.charge[0])
        self.past = []
        return self.trading.observe()[0], {"charge": float(self.trading.charge[0])}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        state = self.trading
        at, charge = int(state.at[0]), float(state.charge[0])
        reward = state.step(np.asarray(action).reshape(1))
        self.past.append((at, charge, float(state.power[0])))
        told = {"earned": state.earned, "charge": state.charge, "power": state.power}
        info = {name: float(value[0]) for name, value in told.items()}
        return state.observe()[0], float(reward[0]), False, bool(state.over[0]), info

    def render(self) -> Any:
        """The episode so far as a picture [height, width, 3] of prices, power and charge."""
        import figures
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        steps, charge, power = (np.array(values) for values in zip(*self.past, strict=True))
        now = np.append(charge, self.trading.charge[0])
        times, prices = self.market.times[steps], self.market.prices[steps]
        canvas = FigureCanvasAgg(figures.trajectory(times, prices, now, power))
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3]
