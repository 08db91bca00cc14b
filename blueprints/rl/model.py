"""The policy: an algorithm of Stable-Baselines3 by its name, observations scaled inside."""

import inspect
from pathlib import Path
from typing import Any

import gymnasium
import stable_baselines3
import torch
from pydantic import Field, PositiveInt
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv

from shared import params

MODELS = Path("models")
CLIP = 10.0  # deviations


class TrainParams(params.Params):
    """Section `train` of params.yaml; here, as all that load a policy need it."""

    algorithm: str
    hyperparameters: dict[str, Any]
    decay: bool
    network: tuple[PositiveInt, ...]
    steps: PositiveInt
    environments: PositiveInt
    seeds: tuple[int, ...] = Field(min_length=1)
    validations: PositiveInt
    validation_episodes: PositiveInt
    jobs: PositiveInt
    device: str


class Scaled(BaseFeaturesExtractor):
    """Observations in deviations from the mean of random play; part of the network, so exported."""

    def __init__(self, space: gymnasium.spaces.Box, mean: list[float], deviation: list[float]):
        super().__init__(space, features_dim=space.shape[0])
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation).clamp(min=1e-3))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return ((observations - self.mean) / self.deviation).clamp(-CLIP, CLIP)


def algorithm(name: str) -> type[BaseAlgorithm]:
    """SB3's class of that name; SystemExit names those that there are."""
    known = {
        key: value
        for key, value in vars(stable_baselines3).items()
        if inspect.isclass(value) and issubclass(value, BaseAlgorithm)
    }
    if name not in known:
        raise SystemExit(f"params.yaml: train.algorithm: {name} is none of {', '.join(known)}")
    return known[name]


def arguments(name: str, given: dict[str, Any], decay: bool) -> dict[str, Any]:
    """Hyper-parameters for the algorithm; SystemExit names one that it does not have."""
    allowed = set(inspect.signature(algorithm(name)).parameters)
    for key in given:
        if key not in allowed - {"policy", "env", "policy_kwargs", "seed", "device"}:
            raise SystemExit(f"params.yaml: train.hyperparameters.{key}: unknown to {name}")
    rate = given.get("learning_rate")
    if not (decay and rate):
        return given
    return given | {"learning_rate": lambda remaining: rate * remaining}  # 1 falls to 0


def build(config: Any, env: VecEnv, scales: dict[str, Any], seed: int) -> BaseAlgorithm:
    """A fresh model for train.{algorithm, hyperparameters, decay, network} on this environment."""
    extractor = {"mean": scales["mean"], "deviation": scales["deviation"]}
    shape = {
        "net_arch": list(config.network),
        "features_extractor_class": Scaled,
        "features_extractor_kwargs": extractor,
    }
    chosen = arguments(config.algorithm, dict(config.hyperparameters), config.decay)
    try:
        made = algorithm(config.algorithm)(
            "MlpPolicy", env, policy_kwargs=shape, seed=seed, device=config.device, **chosen
        )
    except (AssertionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SystemExit(f"params.yaml: train: {config.algorithm}: {reason}") from None
    if not (made.verbose or made.tensorboard_log):
        made.set_logger(Logger(None, []))  # SB3's own would leave a folder in /tmp
    return made


def save(model: BaseAlgorithm, path: Path) -> None:
    """The policy's weights; SB3's own file would hold pickles."""
    state = model.policy.state_dict()
    save_file(
        {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, path
    )


def load(path: Path, config: Any, env: VecEnv, scales: dict[str, Any]) -> BaseAlgorithm:
    """The model whose policy `save` wrote."""
    model = build(config, env, scales, seed=0)
    model.policy.load_state_dict(load_file(path))
    return model
