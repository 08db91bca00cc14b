"""Where the classifier looked: Grad-CAM for any architecture, and its closed form inside the exported graph."""

import copy
from collections.abc import Callable

import torch
from model import MEAN, STD, normalise, resize
from torch import nn


def last_spatial(network: nn.Module, size: int) -> str:
    """Name of the last module whose output still is a map [n, channels, h, w]."""
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(
            lambda _m, _i, out, name=name: (
                seen.append(name)
                if isinstance(out, torch.Tensor) and out.ndim == 4 and min(out.shape[2:]) > 1
                else None
            )
        )
        for name, module in network.named_modules()
        if name
    ]
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return seen[-1]


def grad_cam(network: nn.Module, images: torch.Tensor, positive: int) -> torch.Tensor:
    """Heat [n, h, w] in 0..1 of the positive class for normalised images [n, 3, h, w] (Selvaraju et al. 2017)."""
    kept: list[torch.Tensor] = []
    layer = network.get_submodule(last_spatial(network, images.shape[-1]))
    hook = layer.register_forward_hook(lambda _m, _i, out: kept.append(out))
    with torch.enable_grad():
        logits = network(images)
        (gradient,) = torch.autograd.grad(logits[:, positive].sum(), kept[-1])
    hook.remove()
    heat = (gradient.mean((2, 3), keepdim=True) * kept[-1]).sum(1).relu()
    return (heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-9)).detach()


def fold_normalisation(network: nn.Module, size: int) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """(network, what comes before it): normalisation moves into the first convolution where that is exact.

    Exact means no padding. The INT8 graph then starts from the pixels' own 256 levels: closer to torch, and faster.
    """
    folded = copy.deepcopy(network)
    first = next(module for module in folded.modules() if isinstance(module, nn.Conv2d))
    images = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        offset = (first.weight.sum((2, 3)) * (-MEAN / STD)).sum(1)
        first.bias = nn.Parameter(offset if first.bias is None else first.bias + offset)
        first.weight.mul_((1 / (255 * STD)).view(1, 3, 1, 1))
        if torch.allclose(folded(images.float()), network(normalise(images)), atol=1e-3):
            return folded, torch.Tensor.float
    return network, normalise


class Deployed(nn.Module):
    """What is exported: uint8 [n, h, w, 3] -> probabilities [n, classes] and, where exact, heat maps [n, h', w'].

    Exact means that the logits are a linear function of the mean of the last map, as with global average pooling;
    the class activation map then equals Grad-CAM up to scale and costs nothing.
    """

    def __init__(self, network: nn.Module, size: int, temperature: float, positive: int) -> None:
        super().__init__()
        self.network, self.normalise = fold_normalisation(network, size)
        self.size, self.temperature, self.positive = size, temperature, positive
        self.layer = last_spatial(network, size)
        self.register_buffer("weight", self._linear_head())

    def _linear_head(self) -> torch.Tensor | None:
        """Weights [channels] of the positive class over the last map, or None where there is no exact map."""
        images = self.normalise(
            torch.randint(0, 256, (2, 3, self.size, self.size), generator=torch.Generator().manual_seed(0))
        )
        with torch.no_grad():
            logits, maps = self._forward(images)
            pooled = maps.mean((2, 3))
            linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
            heads = [
                (lambda values: values, torch.eye(logits.shape[1])),
                *((head, head.weight) for head in linear[-1:]),
            ]
            for head, weight in heads:
                if weight.shape[1] == pooled.shape[1] and torch.allclose(head(pooled), logits, atol=1e-3):
                    return weight[self.positive].clone()
        return None

    def _forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept: list[torch.Tensor] = []
        hook = self.network.get_submodule(self.layer).register_forward_hook(lambda _m, _i, out: kept.append(out))
        logits = self.network(images)
        hook.remove()
        return logits, kept[-1]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, maps = self._forward(self.normalise(resize(images, self.size)))
        probabilities = (logits / self.temperature).softmax(1)
        if self.weight is None:
            return (probabilities,)
        heat = (maps * self.weight.view(1, -1, 1, 1)).sum(1).relu()
        return probabilities, heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-9)
