"""The network as it is exported: from raw pixels to probabilities, what was seen, and where."""

import copy
from collections.abc import Callable

import torch
from embedding import last_layer, pooled, principal
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
    """What is exported: uint8 [n, h, w, 3] -> probabilities [n, classes], embeddings [n, k] once
    `describe` was called, and heat maps if exact.

    channels: 1 where all training images were gray; of a colour image the green channel is read.
    turns: of each image, whose logits are averaged; embedding and heat map are those of the first.
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
        self.register_buffer("centre", None)
        self.register_buffer("axes", None)

    @torch.no_grad()
    def describe(self, images: torch.Tensor, components: int) -> None:
        """Fix what an embedding is: principal components of the features of these training images.

        images: pixels [n, channels, size, size].
        """
        seen = [self._forward(self.normalise(part))[2] for part in images.split(4)]
        self.centre, self.axes = principal(torch.cat(seen), components)

    def _linear_head(self) -> torch.Tensor | None:
        """Weights [channels] of the positive class over the last map, None where not exact."""
        random = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (2, self.channels, self.size, self.size), generator=random)
        with torch.no_grad():
            logits, maps, _ = self._forward(self.normalise(images))
            means = maps.mean((2, 3))
            heads: list[tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]]
            heads = [(lambda values: values, torch.eye(logits.shape[1]))]
            linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
            heads += [(head, head.weight) for head in linear[-1:]]
            for head, weight in heads:
                if weight.shape[1] == means.shape[1] and torch.allclose(
                    head(means), logits, atol=1e-3
                ):
                    return weight[self.positive].clone()
        return None

    def _forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits, the last map [n, channels, h, w], and the pooled input of the last layer."""
        kept: list[torch.Tensor] = []
        seen: list[torch.Tensor] = []
        layer, last = self.network.get_submodule(self.layer), last_layer(self.network)
        hooks = [layer.register_forward_hook(lambda _m, _i, out: kept.append(out))]
        hooks += [last.register_forward_pre_hook(lambda _m, given: seen.append(pooled(given[0])))]
        logits = self.network(images)
        for hook in hooks:
            hook.remove()
        return logits, kept[-1], seen[-1]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pixels = images if self.channels == 3 else green(images)
        upright = self.normalise(resize(pixels, self.size))
        turned = torch.cat([turn(upright, number) for number in self.turns])
        logits, maps, seen = (
            part.unflatten(0, (len(self.turns), -1)) for part in self._forward(turned)
        )
        outputs = [(logits.mean(0) / self.temperature).softmax(1)]
        if self.axes is not None:  # a matrix product would be quantised
            outputs += [((seen[0] - self.centre)[:, None] * self.axes).sum(2)]
        if self.weight is not None:
            heat = (maps[0] * self.weight.view(1, -1, 1, 1)).sum(1).relu()
            outputs += [heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-9)]
        return tuple(outputs)
