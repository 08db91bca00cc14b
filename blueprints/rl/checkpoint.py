"""The state of learning in one file that is replaced whole, without pickles: exact resume.

Policies and optimizers of any algorithm, a replay buffer where there is one, the generators of
random numbers, and the batteries' own state. Environments that are not ours start anew.
"""

import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from stable_baselines3.common.base_class import BaseAlgorithm

from shared import params

Tensors = dict[str, torch.Tensor]
COUNTERS = ("_n_calls", "_n_updates")  # of target networks and delayed policies
TRADING = ("at", "age", "charge", "power", "total")


def tensors(model: BaseAlgorithm) -> Tensors:
    """Everything of the model that is a tensor or an array, by a dotted name."""
    found: Tensors = {}
    for name, state in model.get_parameters().items():
        if "param_groups" not in state:
            found |= {f"weights/{name}/{key}": value for key, value in state.items()}
            continue
        for index, moments in state["state"].items():
            for key, value in moments.items():
                found[f"optimizer/{name}/{index}/{key}"] = torch.as_tensor(value)
    for name, value in vars(model).items():
        if isinstance(value, torch.Tensor):  # SAC's entropy coefficient
            found[f"own/{name}"] = value
    for name, value in vars(getattr(model, "replay_buffer", None) or model.__class__).items():
        if isinstance(value, np.ndarray):
            found[f"replay/{name}"] = torch.from_numpy(value)
    trading = getattr(model.get_env(), "trading", None)
    if trading is not None:
        for name in TRADING:
            found[f"trading/{name}"] = torch.from_numpy(getattr(trading, name))
    found["random/torch"] = torch.get_rng_state()
    found["random/numpy"] = torch.from_numpy(np.random.get_state()[1].astype(np.int64))
    starts = model._last_episode_starts
    if starts is not None:
        found["episode/starts"] = torch.from_numpy(np.asarray(starts))
    return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}


def write(path: Path, model: BaseAlgorithm, best: Tensors, state: dict[str, Any]) -> None:
    """`best`: the best policy so far; `state`: JSON that `read` gives back."""
    trading, buffer = (
        getattr(model.get_env(), "trading", None),
        getattr(model, "replay_buffer", None),
    )
    more = {
        "steps": model.num_timesteps,
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "actions": model.action_space.np_random.bit_generator.state,
        "episodes": [{key: float(e[key]) for key in "rl"} for e in model.ep_info_buffer or []],
        "numpy": [np.random.get_state()[2:]],
        "trading": trading.generator.bit_generator.state if trading is not None else None,
        "replay": [buffer.pos, buffer.full] if buffer is not None else None,
    }
    content = tensors(model) | {f"best/{name}": value for name, value in best.items()}
    with params.atomic(path) as draft:
        save_file(content, draft, {"state": json.dumps(state), "more": json.dumps(more)})


def read(path: Path, model: BaseAlgorithm) -> tuple[Tensors, dict[str, Any]] | None:
    """Restore the model in place; best policy and state, or None if there is nothing yet."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        state, more = (json.loads(file.metadata()[name]) for name in ("state", "more"))
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    grouped: dict[str, Tensors] = {}
    for name, value in held.items():
        kind, _, rest = name.partition("/")
        grouped.setdefault(kind, {})[rest] = value
    _restore_parameters(model, grouped)
    for name, value in grouped.get("own", {}).items():
        getattr(model, name).data.copy_(value)
    for name, value in grouped.get("replay", {}).items():
        getattr(model.replay_buffer, name)[...] = value.numpy()
    if more["replay"]:
        model.replay_buffer.pos, model.replay_buffer.full = more["replay"]
    model.num_timesteps = more["steps"]
    for name, value in more["counters"].items():
        setattr(model, name, value)
    model.action_space.np_random.bit_generator.state = more["actions"]
    model.ep_info_buffer = deque(more["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    _restore_environment(model, grouped, more)
    torch.set_rng_state(grouped["random"]["torch"])
    keys = grouped["random"]["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, *more["numpy"][0]))
    return grouped.get("best", {}), state


def _restore_parameters(model: BaseAlgorithm, grouped: dict[str, Tensors]) -> None:
    present: dict[str, Any] = dict(model.get_parameters())
    for name in present:
        inside = f"{name}/"
        if "param_groups" not in present[name]:
            own = {key: v for key, v in grouped["weights"].items() if key.startswith(inside)}
            present[name] = {key.removeprefix(inside): value for key, value in own.items()}
            continue
        moments: dict[int, Tensors] = {}
        for key, value in grouped.get("optimizer", {}).items():
            if key.startswith(inside):
                index, _, moment = key.removeprefix(inside).partition("/")
                moments.setdefault(int(index), {})[moment] = value
        present[name] = {"state": moments, "param_groups": present[name]["param_groups"]}
    model.set_parameters(present, exact_match=True)


def _restore_environment(
    model: BaseAlgorithm, grouped: dict[str, Tensors], more: dict[str, Any]
) -> None:
    trading = getattr(model.get_env(), "trading", None)
    if trading is None or more["trading"] is None:
        return  # learn() resets what is not ours
    for name in TRADING:
        getattr(trading, name)[...] = grouped["trading"][name].numpy()
    trading.generator.bit_generator.state = more["trading"]
    model._last_obs = trading.observe()
    if "episode" in grouped:
        model._last_episode_starts = grouped["episode"]["starts"].numpy()
