"""The classifier: any torchvision architecture or EfficientNet-lite0; build, split, save, load."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

MEAN, STD = (
    torch.tensor([0.485, 0.456, 0.406]),
    torch.tensor([0.229, 0.224, 0.225]),
)  # ImageNet, RGB


class Lite0(nn.Module):
    """EfficientNet-lite0 of the package of that name, laid out like torchvision's networks."""

    def __init__(self, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        made = EfficientNet.from_name("efficientnet-lite0", num_classes=classes)
        stem = [made._conv_stem, made._bn0, nn.ReLU6()]
        head = [made._conv_head, made._bn1, nn.ReLU6()]
        self.features = nn.Sequential(*stem, *made._blocks, *head)
        self.classifier = nn.Sequential(nn.Dropout(dropout), made._fc)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


def build(architecture: str, classes: int, dropout: float = 0.2) -> nn.Module:
    """An untrained network: float [n, 3, h, w] -> logits [n, classes]."""
    if architecture == "efficientnet_lite0":
        return Lite0(classes, dropout)
    if architecture not in torchvision.models.list_models(module=torchvision.models):
        raise SystemExit(
            f"params.yaml: train.architecture: torchvision has no classifier {architecture!r}"
        )
    two = architecture in ("googlenet", "inception_v3")  # they would learn with several outputs
    more = {"aux_logits": False, "init_weights": True} if two else {}
    network: nn.Module = torchvision.models.get_model(
        architecture, weights=None, num_classes=classes, **more
    )
    if architecture.startswith("squeezenet"):
        # torchvision clips the logits at zero, which stalls training with two classes
        network.classifier[2] = nn.Identity()
    for module in network.modules():
        if isinstance(module, nn.Dropout) and module.p:  # transformers have more, switched off
            module.p = dropout
    return network


def refuse_size(network: nn.Module, architecture: str, size: int) -> None:
    """SystemExit where the network takes no square images of this size, without computing one."""
    try:
        copy.deepcopy(network).eval().to("meta")(torch.empty(1, 3, size, size, device="meta"))
    except (AssertionError, RuntimeError) as error:
        raise SystemExit(
            f"params.yaml: prepare.image_size: {architecture} takes no images of {size} pixels: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None


def resize(images: np.ndarray | torch.Tensor, size: int, channels: int = 3) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> values 0..255 [n, channels, size, size]; the same in ONNX.

    channels: 3, or 1 for gray, which is the green channel.
    """
    batch = torch.as_tensor(images).permute(0, 3, 1, 2).float()
    batch = batch if channels == 3 else batch[:, 1:2]
    batch = functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return batch.round().clamp(0, 255)


def turn_numbers(flips: bool, turns: bool) -> list[int]:
    """The turns that leave the meaning of an image as it is; any first few differ much."""
    forbidden = (0 if flips else 3) | (0 if turns else 4)
    return [number for number in (0, 7, 3, 4, 1, 6, 2, 5) if not number & forbidden]


def turn(images: torch.Tensor, number: int) -> torch.Tensor:
    """One of the eight turns of square images [..., size, size].

    Bit 0 of the number mirrors left and right, bit 1 up and down, bit 2 transposes after that.
    """
    axes = [-1 - bit for bit in (0, 1) if number >> bit & 1]
    images = images.flip(axes) if axes else images
    return images.transpose(-1, -2) if number & 4 else images


def averaged(
    network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, turns: list[int]
) -> torch.Tensor:
    """Mean logits [n, classes] over the turns of normalised images [n, 3, size, size]."""
    logits = network(torch.cat([turn(images, number) for number in turns]))
    return logits.unflatten(0, (len(turns), -1)).mean(0)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Values 0..255 [n, 1 or 3, h, w] -> float [n, 3, h, w] as the weights expect it."""
    scale, offset = (1 / (255 * STD)).to(images.device), (-MEAN / STD).to(images.device)
    colours = images.float().expand(-1, 3, -1, -1)
    return colours * scale.view(1, 3, 1, 1) + offset.view(1, 3, 1, 1)


class Features(nn.Module):
    """Mean of the last map before the classifier: normalised images -> [n, channels]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.network.features(images)  # type: ignore[operator]
        return maps.mean((2, 3))


def save(weights: dict[str, torch.Tensor], meta: dict[str, Any], folder: Path) -> None:
    """model.safetensors and model.json (architecture, classes, image size, turns, ...)."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value.contiguous() for name, value in weights.items()}
    save_file(plain, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network in evaluation mode, and its model.json."""
    meta = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    network = build(meta["architecture"], len(meta["classes"]))
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval(), meta
