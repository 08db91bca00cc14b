"""Weights on the INT8 grid, chosen so that the network says the same: GPTQ for convolutions.

Processors without VNNI sum pairs of 8-bit products in 16 bits, which overflow with 8-bit weights,
so 7 bits must do. Rounded to the nearest they change decisions; here each weight's error is made
up for by those not yet rounded (Frantar et al. 2023), on the quantised inputs that the layer gets.
"""

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from deployed import Deployed
from torch import nn
from torch.nn import functional
from tqdm import tqdm

STEPS = 64  # of a 7-bit weight, to either side of zero: what ONNX Runtime's `reduce_range` takes
DAMPING = 0.05  # share of the mean square input added to each: keeps the solution near the weights
BATCH = 4  # images at a time: larger outputs would come fresh from the kernel each time
PLACES = 32  # of each image and layer that the errors are summed over, drawn at random


class Reached(Exception):
    """Ends a forward pass where the rest of the block is not needed."""


@torch.no_grad()
def rounded(deployed: Deployed, images: torch.Tensor) -> Deployed:
    """A copy whose convolutions have weights on the grid and outputs as near as they can be.

    images: pixels [n, channels, size, size] of the training split.
    """
    result = copy.deepcopy(deployed)
    pairs = list(zip(parts(deployed.network), parts(result.network), strict=True))
    before = now = list(deployed.normalise(images).split(BATCH))
    for plain, coarse in tqdm(pairs, desc="rounding", unit="block"):
        names = [name for name, part in coarse.named_modules() if isinstance(part, nn.Conv2d)]
        wanted, hooks = columns(plain, names, before), []
        for name in names:
            layer = coarse.get_submodule(name)
            hooks.append(layer.register_forward_pre_hook(quantiser(wanted[name])))
            round_layer(layer, wanted[name], columns(coarse, [name], now)[name])
        before = [plain(part) for part in before]
        now = [coarse(part) for part in now]
        for hook in hooks:
            hook.remove()
    return result


def parts(network: nn.Module) -> list[nn.Module]:
    """What runs one after another and holds all convolutions; the whole where that is not known."""
    sequences = [getattr(network, name, None) for name in ("features", "classifier")]
    blocks = [block for part in sequences if isinstance(part, nn.Sequential) for block in part]
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    while blocks and not any(isinstance(part, nn.Conv2d) for part in blocks[-1].modules()):
        blocks.pop()
    found = [part for block in blocks for part in block.modules() if isinstance(part, nn.Conv2d)]
    return blocks if found == convolutions else [network]


@torch.no_grad()
def columns(
    block: nn.Module, names: Sequence[str], given: Iterable[torch.Tensor]
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
        block.get_submodule(name).register_forward_pre_hook(
            lambda layer, values, name=name: note(name, layer, values[0])
        )
        for name in names
    ]
    for part in given if names else ():
        try:
            block(part)
        except Reached:
            continue
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(chunks, 2) for name, chunks in found.items()}


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
    fake = torch.fake_quantize_per_tensor_affine
    return lambda _layer, given: fake(given[0], scale, zero, 0, 255)


def round_layer(layer: nn.Conv2d, wanted: torch.Tensor, given: torch.Tensor) -> None:
    """Round the weights: on inputs `given` the layer shall say what it said of `wanted`."""
    weight = layer.weight
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias
    rows = torch.cat([weight.flatten(1), bias[:, None]], 1).double()
    step = weight.abs().amax((1, 2, 3)).clamp_min(1e-12).double() / STEPS
    wanted, given = (functional.pad(part, (0, 0, 0, 1), value=1.0) for part in (wanted, given))
    gram, cross = (given @ given.mT).double(), (given @ (wanted - given).mT).double()
    rows, step = (part.unflatten(0, (layer.groups, -1)) for part in (rows, step))
    result = solve(rows, step, gram, cross).flatten(0, 1).float()
    layer.weight = nn.Parameter(result[:, :-1].reshape(weight.shape).contiguous())
    layer.bias = nn.Parameter(result[:, -1].contiguous())


def solve(
    rows: torch.Tensor, step: torch.Tensor, gram: torch.Tensor, cross: torch.Tensor
) -> torch.Tensor:
    """Rows [groups, out, weights + 1] on the grid with rows @ given near the rows @ wanted.

    step [groups, out]: width of the grid. gram: given @ given.T, cross: given @ (wanted - given).T.
    The last column is the bias and not rounded; each row's largest weight stays: it lays the grid.
    """
    size = gram.diagonal(dim1=1, dim2=2)[:, :-1].mean(1).clamp_min(1e-9)  # 0 where all inputs are
    gram = gram + DAMPING * size[:, None, None] * torch.eye(gram.shape[1])
    result = rows + torch.linalg.solve(gram, cross @ rows.mT).mT
    largest = rows[..., :-1].abs().argmax(2)
    upper = torch.linalg.cholesky(torch.linalg.inv(gram), upper=True)
    for column in range(rows.shape[2] - 1):
        value = result[..., column]
        near = (value / step).round().clamp(-STEPS, STEPS) * step
        near = torch.where(largest == column, rows[..., column], near)
        error = (value - near) / upper[:, column, column, None]
        result[..., column + 1 :] -= error[..., None] * upper[:, None, column, column + 1 :]
        result[..., column] = near
    return result
