"""What the network sees in an image, in a few numbers: they tell when images are like no other."""

import torch
from torch import nn


def last_layer(network: nn.Module) -> nn.Module:
    """The layer that makes classes of features: the last one with weights."""
    return [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)][-1]


def pooled(features: torch.Tensor) -> torch.Tensor:
    """[n, channels, h, w] -> means [n, channels]; what is pooled already stays."""
    return features.mean((2, 3)) if features.ndim == 4 else features


@torch.no_grad()
def principal(features: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre [channels] and axes [k, channels] of [n, channels], k at most `number`.

    Principal components, scaled so that each varies by 1 over these features: an embedding is
    axes @ (features - centre). Directions in which nothing varies are left out.
    """
    centre = features.mean(0)
    _, sizes, axes = torch.linalg.svd((features - centre).double(), full_matrices=False)
    kept = int((sizes > 1e-6 * sizes.max().clamp_min(1e-9)).sum().clamp(max=number))
    axes = axes[:kept] * (len(features) - 1) ** 0.5 / sizes[:kept, None]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return centre, (axes * largest.sign()).float()  # else the sign would be the library's choice
