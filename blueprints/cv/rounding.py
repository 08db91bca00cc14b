"""Weights on the INT8 grid, chosen so that the network says the same: GPTQ for convolutions.

Processors without VNNI sum pairs of 8-bit products in 16 bits, which overflow with 8-bit weights,
so 7 bits must do. Rounded to the nearest they change decisions; here each weight's error is made
up for by those not yet rounded (Frantar et al. 2023), on the quantised inputs that the layer gets.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from deployed import Deployed
from torch import nn
from torch.nn import functional
from tqdm import tqdm

STEPS = 64  # of a 7-bit weight, to either side of zero: what ONNX Runtime's `reduce_range` takes
DAMPING = 0.01  # share of the mean square input added to each: keeps the solution near the weights
PLACES = 64  # of each image and layer that the errors are summed over, drawn at random


class Reached(Exception):
    """Ends a forward pass where the rest of the network is not needed."""


def rounded(deployed: Deployed, images: torch.Tensor) -> Deployed:
    """A copy whose convolutions have weights on the grid and outputs as near as they can be.

    images: pixels [n, channels, size, size] of the training split.
    """
    result, dense = copy.deepcopy(deployed), {"memory_format": torch.channels_last}
    plain, coarse = copy.deepcopy(deployed.network).to(**dense), result.network.to(**dense)
    pixels = deployed.normalise(images).contiguous(**dense)
    names = [name for name, part in coarse.named_modules() if isinstance(part, nn.Conv2d)]
    wanted = columns(plain, names, pixels)
    hooks = []
    for name in tqdm(names, desc="rounding", unit="layer"):
        layer, before = coarse.get_submodule(name), wanted.pop(name)
        hooks.append(layer.register_forward_pre_hook(quantiser(before)))
        round_layer(layer, before, columns(coarse, [name], pixels)[name])
    for hook in hooks:
        hook.remove()
    return result


@torch.no_grad()
def columns(
    network: nn.Module, names: Sequence[str], pixels: torch.Tensor, batch: int = 16
) -> dict[str, torch.Tensor]:
    """What each layer's kernel is multiplied with: name -> [groups, weights of a kernel, samples].

    A sample is one of `PLACES` of each image, the same ones at every call.
    """
    found: dict[str, list[torch.Tensor]] = {name: [] for name in names}

    def note(name: str, layer: nn.Conv2d, values: torch.Tensor) -> None:
        found[name].append(patches(layer, values, seed=len(found[name])))
        if name == names[-1]:
            raise Reached

    hooks = [
        network.get_submodule(name).register_forward_pre_hook(
            lambda layer, given, name=name: note(name, layer, given[0])
        )
        for name in names
    ]
    for part in pixels.split(batch):
        try:
            network(part)
        except Reached:
            continue
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts, 2) for name, parts in found.items()}


def patches(layer: nn.Conv2d, values: torch.Tensor, seed: int) -> torch.Tensor:
    """Columns [groups, weights of a kernel, n * places] of maps [n, channels, h, w]."""
    padded = getattr(layer, "static_padding", nn.Identity())(values)
    padded = functional.pad(padded, layer._reversed_padding_repeated_twice)
    random = torch.Generator().manual_seed(seed)
    places = []
    for axis in (0, 1):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        starts = (padded.shape[2 + axis] - reach - 1) // layer.stride[axis] + 1
        start = torch.randint(starts, (PLACES, 1), generator=random) * layer.stride[axis]
        places.append(start + torch.arange(layer.kernel_size[axis]) * layer.dilation[axis])
    found = padded[:, :, places[0][:, :, None], places[1][:, None, :]]  # [n, c, places, k, k]
    return found.permute(1, 3, 4, 0, 2).reshape(layer.groups, -1, len(values) * PLACES)


def quantiser(values: torch.Tensor) -> Callable[[nn.Module, tuple[torch.Tensor]], torch.Tensor]:
    """A hook that rounds a layer's input to 8 bits over the range of `values`."""
    low, high = min(0.0, float(values.min())), max(1e-12, float(values.max()))
    scale = (high - low) / 255
    zero = round(-low / scale)
    return lambda _layer, given: torch.fake_quantize_per_tensor_affine(
        given[0], scale, zero, 0, 255
    )


@torch.no_grad()
def round_layer(layer: nn.Conv2d, wanted: torch.Tensor, given: torch.Tensor) -> None:
    """Round the weights: on inputs `given` the layer shall say what it said of `wanted`."""
    weight = layer.weight
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias
    rows = torch.cat([weight.flatten(1), bias[:, None]], 1).double()
    step = weight.abs().amax((1, 2, 3)).clamp_min(1e-12).double() / STEPS
    ones = [functional.pad(part.double(), (0, 0, 0, 1), value=1.0) for part in (wanted, given)]
    groups = (part.unflatten(0, (layer.groups, -1)) for part in (rows, step))
    done = [solve(*group) for group in zip(*groups, *ones, strict=True)]
    result = torch.cat(done).float()
    layer.weight = nn.Parameter(result[:, :-1].reshape(weight.shape).contiguous())
    layer.bias = nn.Parameter(result[:, -1].contiguous())


def solve(
    rows: torch.Tensor, step: torch.Tensor, wanted: torch.Tensor, given: torch.Tensor
) -> torch.Tensor:
    """Rows [out, weights + 1] on the grid with rows @ given near the plain rows @ wanted.

    step [out]: width of the grid; the last column is the bias, which is not rounded. The largest
    weight of each row stays as it is, since it lays the grid.
    """
    gram = given @ given.T
    gram += torch.eye(len(gram)) * gram.diagonal()[:-1].mean() * DAMPING
    shift = torch.linalg.solve(gram, given @ (wanted - given).T @ rows.T).T
    result, largest = rows + shift, rows[:, :-1].abs().argmax(1)
    upper = torch.linalg.cholesky(torch.linalg.inv(gram), upper=True)
    for column in range(rows.shape[1] - 1):
        value = result[:, column]
        near = (value / step).round().clamp(-STEPS, STEPS) * step
        near = torch.where(largest == column, rows[:, column], near)
        error = (value - near) / upper[column, column]
        result[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :]
        result[:, column] = near
    return result
