"""The state of training after an epoch, in one file that is replaced whole: exact resume."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from shared import params

State = tuple[list[dict[str, float]], dict[str, torch.Tensor]]


def fingerprint(config: dict[str, Any], positive: str, folder: Path) -> str:
    """What a checkpoint belongs to: parameters, `ingest.positive`, data, scripts, and the content
    of `train.weights_file`.

    With another one training starts anew.
    """
    digest = hashlib.sha256(json.dumps([config, positive]).encode())
    files = [*sorted(folder.iterdir()), *sorted(Path(__file__).parent.glob("*.py"))]
    if config["weights"] == "file":
        files.append(Path(config["weights_file"]))
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def write(
    path: Path,
    network: torch.nn.Module,
    best: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Weights, best weights so far and the optimizer's moments.

    `state` (fingerprint, history) is JSON in the header.
    """
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with params.atomic(path) as draft:
        save_file(plain, draft, {"state": json.dumps(state)})


def read(
    path: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer, mark: str
) -> State | None:
    """Restore network and optimizer in place; gives history and best weights.

    None if there is nothing to resume, or it belongs to another fingerprint.
    """
    if not path.exists():
        return None
    tensors: dict[str, dict[str, torch.Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
    with safe_open(path, "pt") as file:
        state = json.loads(file.metadata()["state"])
        if state["fingerprint"] != mark:
            return None
        for name in file.keys():  # noqa: SIM118  (the file is no mapping)
            kind, _, rest = name.partition(".")
            tensors[kind][rest] = file.get_tensor(name)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors["optimizer"].items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = value
    network.load_state_dict(tensors["network"])
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    print(f"train: goes on after epoch {len(state['history'])}")
    return state["history"], tensors["best"]
