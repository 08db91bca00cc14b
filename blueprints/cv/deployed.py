"""The network as it is exported: from raw pixels to probabilities and a heat map, in one graph."""

import copy
from collections.abc import Callable

import torch
from heatmap import last_spatial
from model import MEAN, STD, averaged, normalise, resize, turn
from torch import nn


class Trained(nn.Module):
    """What was trained, plainly as torch runs it: the reference of every check of the export.

    uint8 [n, h, w, 3] -> probabilities [n, classes].
    """

    def __init__(self, network: nn.Module, size: int, turns: list[int], temperature: float) -> None:
        super().__init__()
        self.network, self.size, self.turns = network, size, turns
        self.temperature = temperature

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = averaged(self.network, normalise(resize(images, self.size)), self.turns)
        return (logits / self.temperature).softmax(1)


def fold_normalisation(
    network: nn.Module, size: int, channels: int
) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """(network, what comes before it): normalisation moves into the first convolution if exact.

    Exact means no padding. The INT8 graph then starts from the pixels' own 256 levels: closer to
    torch, and faster. With one channel the first convolution then reads gray instead of three
    equal colours.
    """
    folded = copy.deepcopy(network)
    first = next(module for module in folded.modules() if isinstance(module, nn.Conv2d))
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, channels, size, size), generator=random)
    with torch.no_grad():
        offset = (first.weight.sum((2, 3)) * (-MEAN / STD)).sum(1)
        first.bias = nn.Parameter(offset if first.bias is None else first.bias + offset)
        weight = first.weight * (1 / (255 * STD)).view(1, 3, 1, 1)
        first.weight = nn.Parameter(weight.sum(1, keepdim=True) if channels == 1 else weight)
        if torch.allclose(folded(images.float()), network(normalise(images)), atol=1e-3):
            return folded, torch.Tensor.float
    return network, normalise


def green(images: torch.Tensor) -> torch.Tensor:
    """[n, h, w, 3] -> [n, h, w, 1]. Flat planes: ONNX Runtime picks bytes one by one otherwise."""
    count, height, width, _ = images.shape
    planes = images.permute(0, 3, 1, 2).reshape(count, 3, height * width)
    return planes[:, 1].reshape(count, height, width, 1)


class Deployed(nn.Module):
    """What is exported: uint8 [n, h, w, 3] -> probabilities [n, classes] and heat maps if exact.

    channels: 1 where all training images were gray; of a colour image the green channel is read.
    turns: of each image, whose logits are averaged; the heat map is that of the first.
    Heat maps [n, h', w'] are exact where the logits are a linear function of the mean of the last
    map, as with global average pooling: the class activation map then equals Grad-CAM up to scale
    and costs nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        size: int,
        channels: int,
        turns: list[int],
        temperature: float,
        positive: int,
    ) -> None:
        super().__init__()
        self.network, self.normalise = fold_normalisation(network, size, channels)
        self.size, self.channels, self.turns = size, channels, turns
        self.temperature, self.positive = temperature, positive
        self.layer = last_spatial(network, size)
        self.register_buffer("weight", self._linear_head())

    def _linear_head(self) -> torch.Tensor | None:
        """Weights [channels] of the positive class over the last map, None where not exact."""
        random = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (2, self.channels, self.size, self.size), generator=random)
        with torch.no_grad():
            logits, maps = self._forward(self.normalise(images))
            pooled = maps.mean((2, 3))
            heads: list[tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]]
            heads = [(lambda values: values, torch.eye(logits.shape[1]))]
            linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
            heads += [(head, head.weight) for head in linear[-1:]]
            for head, weight in heads:
                if weight.shape[1] == pooled.shape[1] and torch.allclose(
                    head(pooled), logits, atol=1e-3
                ):
                    return weight[self.positive].clone()
        return None

    def _forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept: list[torch.Tensor] = []
        layer = self.network.get_submodule(self.layer)
        hook = layer.register_forward_hook(lambda _m, _i, out: kept.append(out))
        logits = self.network(images)
        hook.remove()
        return logits, kept[-1]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pixels = images if self.channels == 3 else green(images)
        upright = self.normalise(resize(pixels, self.size))
        logits, maps = self._forward(torch.cat([turn(upright, number) for number in self.turns]))
        logits = logits.unflatten(0, (len(self.turns), -1)).mean(0)
        probabilities = (logits / self.temperature).softmax(1)
        if self.weight is None:
            return (probabilities,)
        first = maps.unflatten(0, (len(self.turns), -1))[0]
        heat = (first * self.weight.view(1, -1, 1, 1)).sum(1).relu()
        return probabilities, heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-9)
