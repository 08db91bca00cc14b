"""One seed's learning by Stable-Baselines3: validated as it goes, the best kept, resumable."""

import os
from pathlib import Path
from typing import Any

import checkpoint
import numpy as np
import playing
import torch
import vectors
from env import EnvParams
from market import Market, read
from model import build, save
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from shared import params

Row = dict[str, float]


def validate(act: playing.Act, env: EnvParams, market: Market | None, config: Any) -> float:
    """Profit over all validation segments, or the mean return of validation episodes."""
    if market is None:
        returns, _, _ = playing.episodes(act, env.id, config.validation_episodes, seed=10_000)
        return float(returns.mean())
    whole = [playing.trade(act, market, env, segment) for segment in market.segments]
    return float(sum(one.earned.sum() for one in whole))


class Progress(BaseCallback):
    """Validates after every so many steps, keeps the best policy, writes the checkpoint."""

    def __init__(self, path: Path, env: EnvParams, config: Any, seed: int, owner: int) -> None:
        super().__init__()
        self.path, self.env, self.config, self.seed = path, env, config, seed
        self.owner = owner
        self.market = read("validation") if env.id == "battery" else None
        self.curve: list[Row] = []
        self.best: dict[str, torch.Tensor] = {}
        self.bar = tqdm(total=config.steps, desc=f"seed {seed}", unit="step", position=seed % 8)

    def _on_step(self) -> bool:
        self.bar.update(self.model.num_timesteps - self.bar.n)
        return True

    def _on_rollout_start(self) -> None:
        """Between two rollouts nothing is half done: the moment to look and to write."""
        if self.owner not in (os.getpid(), os.getppid()):
            raise SystemExit("train: the stage that began this seed is gone")
        due = self.config.steps * (len(self.curve) + 1) / self.config.validations
        if self.model.num_timesteps >= due:
            self.look()
            checkpoint.write(self.path, self.model, self.best, {"curve": self.curve})

    def _on_training_end(self) -> None:
        if not self.curve or self.model.num_timesteps > self.curve[-1]["steps"]:
            self.look()
        self.bar.close()

    def look(self) -> None:
        """A point of the learning curve; the policy is kept if it is the best so far."""
        score = validate(playing.deterministic(self.model), self.env, self.market, self.config)
        if not self.curve or score > max(row["validation"] for row in self.curve):
            state = self.model.policy.state_dict()
            self.best = {name: value.detach().clone() for name, value in state.items()}
        latest = [episode["r"] for episode in self.model.ep_info_buffer or []]
        reward = float(np.mean(latest)) if latest else 0.0
        row = {"seed": self.seed, "steps": self.model.num_timesteps}
        self.curve.append(row | {"validation": score, "training_reward": reward})
        self.bar.set_postfix(validation=f"{score:.6g}")


def learn(
    seed: int, env: EnvParams, config: Any, scales: dict[str, Any], folder: Path, owner: int
) -> None:
    """folder/{seed}.safetensors, the best policy, and {seed}.json, its learning curve.

    A seed that is done is left alone; one that was stopped goes on from its checkpoint. When the
    process `owner` is gone, this one stops, too.
    """
    done = folder / f"{seed}.json"
    if done.exists():
        return
    torch.set_num_threads(1)  # such small networks learn slower with more
    model = build(config, vectors.many(env, "train", config.environments, seed), scales, seed)
    path = folder / f"{seed}.checkpoint"
    callback = Progress(path, env, config, seed, owner)
    found = checkpoint.read(path, model)
    if found:
        callback.best, callback.curve = found[0], found[1]["curve"]
        print(f"train: seed {seed} goes on after step {model.num_timesteps}")
    left = config.steps - model.num_timesteps
    model.learn(max(left, 0), callback=callback, reset_num_timesteps=not found)
    model.policy.load_state_dict(callback.best)
    with params.atomic(folder / f"{seed}.safetensors") as draft:
        save(model, draft)
    params.write_json(done, callback.curve)
    path.unlink(missing_ok=True)
