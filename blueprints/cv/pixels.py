"""What happens to pixels before the network, the same in training, evaluation and the exported graph."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

MEAN, STD = (
    torch.tensor([0.485, 0.456, 0.406]),
    torch.tensor([0.229, 0.224, 0.225]),
)  # ImageNet, RGB, 0..1
MIRRORS: tuple[tuple[int, ...], ...] = ((), (-2, -1), (-1,), (-2,))  # axes that each view is flipped along


def resize(images: np.ndarray | torch.Tensor, size: int) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> uint8-valued [n, 3, size, size], antialiased bilinear: the same in training and in ONNX."""
    batch = torch.as_tensor(images).permute(0, 3, 1, 2).float()
    batch = functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return batch.round().clamp(0, 255)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Values 0..255 [n, 1 or 3, h, w] -> float [n, 3, h, w] as the weights expect it: (value / 255 - mean) / std."""
    scale, offset = (1 / (255 * STD)).to(images.device), (-MEAN / STD).to(images.device)
    return images.float().expand(-1, 3, -1, -1) * scale.view(1, 3, 1, 1) + offset.view(1, 3, 1, 1)


def mirrored(images: torch.Tensor, count: int) -> torch.Tensor:
    """[n, ..., h, w] -> [count * n, ..., h, w]: the images, then their mirror images."""
    return torch.cat([images.flip(axes) if axes else images for axes in MIRRORS[:count]])


def channels_last(images: torch.Tensor) -> torch.Tensor:
    """Normalised images in the memory layout of the network: a third faster on CPUs."""
    return normalise(images).contiguous(memory_format=torch.channels_last)


class Views(nn.Module):
    """The mean logits over `count` mirror images (1, 2 or 4): costs as many forward passes, errs less."""

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(mirrored(images, self.count))
        return logits.unflatten(0, (self.count, -1)).mean(0)
