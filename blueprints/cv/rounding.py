"""Weights on the INT8 grid, and biases that make up for it: the same decisions from 7-bit weights.

Processors without VNNI sum pairs of 8-bit products in 16 bits, which overflow with 8-bit weights:
on one of them the decisions of an INT8 model agreed with torch in 58 % of the images only.
"""

import copy
from collections import defaultdict

import torch
from deployed import Deployed
from torch import nn

STEPS = 64  # of a 7-bit weight, to either side of zero: what ONNX Runtime's `reduce_range` takes


def rounded(deployed: Deployed, images: torch.Tensor) -> Deployed:
    """A copy whose convolutions have weights on the grid and the mean outputs they had before.

    Layer by layer each bias takes over the mean difference that rounding up to there makes on
    `images`, pixels [n, channels, size, size] of the training split (Nagel et al. 2019).
    """
    result = copy.deepcopy(deployed)
    plain, coarse = deployed.normalise(images), result.network
    names = [name for name, part in coarse.named_modules() if isinstance(part, nn.Conv2d)]
    expected = mean_outputs(deployed.network, plain, names)
    for name in names:
        convolution = coarse.get_submodule(name)
        step = convolution.weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12) / STEPS
        convolution.weight = nn.Parameter((convolution.weight / step).round() * step)
    for name in names:
        convolution = coarse.get_submodule(name)
        found = mean_outputs(coarse, plain, [name])[name]
        bias = convolution.bias if convolution.bias is not None else torch.zeros_like(found)
        convolution.bias = nn.Parameter(bias + expected[name] - found)
    return result


@torch.no_grad()
def mean_outputs(
    network: nn.Module, images: torch.Tensor, names: list[str], batch: int = 16
) -> dict[str, torch.Tensor]:
    """Mean over images and places of each convolution's output: name -> [channels]."""
    found: dict[str, list[torch.Tensor]] = defaultdict(list)
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found[name].append(output.mean((0, 2, 3)))
        )
        for name in names
    ]
    for first in range(0, len(images), batch):
        network(images[first : first + batch])
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(parts).mean(0) for name, parts in found.items()}
