"""Weights rounded to the INT8 grid: on it, and nearer in what they say than the nearest ones."""

import copy

import pytest
import torch
from deployed import Deployed
from model import build
from rounding import STEPS, columns, parts, patches, rounded
from torch import nn


class Small(nn.Module):
    """A classifier with plain, strided, padded and grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
            nn.ReLU(),
            nn.Conv2d(16, 32, 1),
            nn.ReLU(),
        )
        self.classifier = nn.Conv2d(32, 2, 3, padding="same", dilation=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images)).mean((2, 3))
        return logits


def nearest(deployed: Deployed) -> Deployed:
    """A copy with each weight rounded to the next point of the grid."""
    result = copy.deepcopy(deployed)
    for part in result.modules():
        if isinstance(part, nn.Conv2d):
            step = part.weight.abs().amax((1, 2, 3), keepdim=True) / STEPS
            part.weight = nn.Parameter((part.weight / step).round() * step)
    return result


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    smooth = nn.AvgPool2d(5, 1, 2)
    noise = torch.rand(96, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return (smooth(noise) * 400 - 80).clamp(0, 255).round()


def test_weights_are_on_the_grid_and_the_largest_keeps_its_place(images: torch.Tensor) -> None:
    deployed = Deployed(Small().eval(), 32, 1, [0], 1.0, 1)
    result = rounded(deployed, images[:48])
    for name, part in deployed.network.named_modules():
        if isinstance(part, nn.Conv2d):
            before, after = part.weight.flatten(1), result.network.get_submodule(name).weight
            steps = after.detach().flatten(1) / (before.abs().amax(1, keepdim=True) / STEPS)
            torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
            assert steps.abs().amax(1).round().eq(STEPS).all(), name


def test_it_says_the_same_more_nearly_than_the_nearest_weights(images: torch.Tensor) -> None:
    deployed = Deployed(Small().eval(), 32, 1, [0], 1.0, 1)
    learnt, fresh = images.split(48)
    with torch.no_grad():
        said, near, ours = (
            made.network(made.normalise(fresh))
            for made in (deployed, nearest(deployed), rounded(deployed, learnt))
        )
    assert (ours - said).pow(2).mean() < (near - said).pow(2).mean() / 2


@pytest.mark.parametrize("name", ["features.0", "features.2", "features.4", "classifier"])
def test_the_columns_are_what_the_kernel_is_multiplied_with(
    name: str, images: torch.Tensor
) -> None:
    network = Small().eval()
    layer = network.get_submodule(name)
    given = images.expand(-1, 3, -1, -1) / 255
    sampled = columns(network, [name], given.split(16))[name]
    kernels = layer.weight.detach().flatten(1).unflatten(0, (layer.groups, -1))
    bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach()
    products = (torch.cat(list(kernels @ sampled)) + bias[:, None]).T
    found: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _layer, _given, output: found.append(output))
    with torch.no_grad():
        network(given[:16])
    hook.remove()
    everywhere = found[0].permute(0, 2, 3, 1).flatten(0, 2)  # [places, channels out]
    for product in products[:200]:
        assert (everywhere - product).abs().amax(1).min() < 1e-5


def test_samples_repeat() -> None:
    layer, values = nn.Conv2d(1, 1, 3), torch.rand(2, 1, 9, 9)
    torch.testing.assert_close(patches(layer, values, 3), patches(layer, values, 3))


@pytest.mark.parametrize(
    ("architecture", "blocks"),
    [
        ("squeezenet1_1", 15),
        ("efficientnet_lite0", 20),
        ("mobilenet_v3_small", 13),
        ("resnet18", 1),
    ],
)
def test_the_parts_of_a_network_run_one_after_another(architecture: str, blocks: int) -> None:
    network = build(architecture, 2).eval()
    found = parts(network)
    assert len(found) == blocks
    said: list[torch.Tensor] = []
    hook = found[-1].register_forward_hook(lambda _part, _given, output: said.append(output))
    values = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        network(values)
        for part in found:
            values = part(values)
    hook.remove()
    torch.testing.assert_close(said[0], said[1])
