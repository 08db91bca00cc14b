"""Architectures by name, packaged weights, and an exported graph that says what torch says."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from deployed import Deployed, Trained
from export import to_onnx
from model import (
    averaged,
    build,
    load,
    normalise,
    refuse_size,
    resize,
    save,
    turn,
    turn_numbers,
)
from pretrained import start_weights
from torch import nn


@pytest.mark.parametrize(
    "architecture", ["squeezenet1_1", "efficientnet_lite0", "resnet18", "mobilenet_v3_small"]
)
def test_architectures_are_built_by_name_and_survive_saving(
    architecture: str, tmp_path: Path
) -> None:
    network = build(architecture, 3).eval()
    save(network.state_dict(), {"architecture": architecture, "classes": ["a", "b", "c"]}, tmp_path)
    again, _ = load(tmp_path)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert network(images).shape == (2, 3)
        torch.testing.assert_close(again(images), network(images))


@pytest.mark.parametrize(
    "architecture",
    [
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "inception_v3",
        "maxvit_t",
        "mnasnet0_5",
        "mobilenet_v2",
        "shufflenet_v2_x0_5",
        "swin_t",
        "swin_v2_t",
        "vgg11",
        "vit_b_16",
    ],
)
def test_each_family_has_one_output_while_it_learns_and_takes_the_default_size(
    architecture: str,
) -> None:
    with torch.device("meta"):  # shapes only
        network = build(architecture, 2).train()
        assert network(torch.empty(2, 3, 224, 224)).shape == (2, 2)
    refuse_size(network, architecture, 224)


@pytest.mark.parametrize(
    ("architecture", "size", "reason"),
    [
        ("vit_b_16", 96, "Wrong image height! Expected 224 but got 96"),
        ("maxvit_t", 96, "is invalid for input of size"),
        ("inception_v3", 64, "Kernel size can't be greater than actual input size"),
    ],
)
def test_a_size_that_an_architecture_does_not_take_is_named(
    architecture: str, size: int, reason: str
) -> None:
    with torch.device("meta"):
        network = build(architecture, 2)
    told = rf"prepare\.image_size: {architecture} takes no images of {size} pixels: .*{reason}"
    with pytest.raises(SystemExit, match=told):
        refuse_size(network, architecture, size)


def test_asking_for_the_size_changes_nothing() -> None:
    network = build("mobilenet_v3_small", 2).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    refuse_size(network, "mobilenet_v3_small", 64)
    assert torch.equal(torch.get_rng_state(), state) and network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_dropout_is_set_only_where_an_architecture_drops() -> None:
    names = ("squeezenet1_1", "vgg11", "googlenet", "vit_b_16", "swin_t")
    with torch.device("meta"):
        networks = {name: build(name, 2, dropout=0.4) for name in names}
    found = {
        name: {part.p for part in network.modules() if isinstance(part, nn.Dropout)}
        for name, network in networks.items()
    }
    assert list(found.values()) == [{0.4}] * 3 + [{0.0}] * 2


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "efficientnet_lite0"])
def test_packaged_weights_fill_everything_but_the_last_layer(architecture: str) -> None:
    torch.manual_seed(0)
    fresh, filled = (
        build(architecture, 2),
        start_weights(build(architecture, 2), architecture, "packaged"),
    )
    ours, theirs = fresh.state_dict(), filled.state_dict()
    same = [name for name in ours if ours[name].ndim > 1 and torch.equal(ours[name], theirs[name])]
    assert same == []
    assert sum(value.numel() for value in theirs.values()) > 700_000


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(
        SystemExit, match=r"train\.architecture: torchvision has no classifier 'resnet1'"
    ):
        build("resnet1", 2)
    with pytest.raises(SystemExit, match="packaged exist for squeezenet1_1 and efficientnet_lite0"):
        start_weights(build("resnet18", 2), "resnet18", "packaged")
    for file in (None, "no.safetensors"):
        with pytest.raises(SystemExit, match=r"train\.weights_file: .* is no file"):
            start_weights(build("resnet18", 2), "resnet18", "file", file)


@pytest.mark.parametrize(("channels", "turns"), [(1, [0, 7]), (3, [0])])
@pytest.mark.parametrize("architecture", ["squeezenet1_1", "efficientnet_lite0", "googlenet"])
def test_the_exported_graph_says_what_torch_says_at_any_size(
    architecture: str, channels: int, turns: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build(architecture, 2).eval()
    trained = Trained(network, 96, turns, temperature=1.5)
    to_onnx(Deployed(network, 96, channels, turns, 1.5, positive=0), tmp_path / "m.onnx")
    path, providers = str(tmp_path / "m.onnx"), ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(path, providers=providers)
    generator = np.random.default_rng(0)
    for n, height, width in ((1, 96, 96), (3, 200, 150), (1, 40, 300)):
        shape = (n, height, width, channels)
        pixels = generator.integers(0, 256, shape, dtype=np.uint8)
        pixels = np.broadcast_to(pixels, (n, height, width, 3)).copy()
        with torch.no_grad():
            expected = trained(torch.from_numpy(pixels)).numpy()
        found = session.run(["probabilities"], {"images": pixels})[0]
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("flips", "turns", "count"),
    [(True, True, 8), (True, False, 4), (False, True, 2), (False, False, 1)],
)
def test_turns_are_those_allowed_and_all_differ(flips: bool, turns: bool, count: int) -> None:
    image, numbers = torch.arange(9).reshape(1, 3, 3), turn_numbers(flips, turns)
    turned = {tuple(turn(image, number).flatten().tolist()) for number in numbers}
    assert len(turned) == len(numbers) == count and numbers[0] == 0
    torch.testing.assert_close(turn(image, 0), image)


def test_the_average_over_all_turns_is_the_same_for_each_turn_of_an_image() -> None:
    torch.manual_seed(0)
    images, every = torch.rand(2, 3, 64, 64), turn_numbers(True, True)
    network = build("squeezenet1_1", 2).eval()
    with torch.no_grad():
        upright = averaged(network, images, every)
        torch.testing.assert_close(averaged(network, turn(images, 6), every), upright)
        assert not torch.allclose(averaged(network, images, [6]), averaged(network, images, [0]))


def test_resizing_and_normalising_keep_shape_and_range() -> None:
    images = resize(np.full((2, 30, 50, 3), 255, np.uint8), 32)
    assert images.shape == (2, 3, 32, 32) and images.max() == 255
    assert normalise(images[:, :1]).shape == (2, 3, 32, 32), "gray is repeated"
