"""Architectures by name, packaged weights, and an exported graph that says what torch says."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from export import to_onnx
from heatmap import Deployed
from model import build, freeze, load, normalise, resize, save, start_weights


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


def test_frozen_blocks_do_not_learn() -> None:
    network = build("squeezenet1_1", 2)
    freeze(network, 4)
    assert not any(value.requires_grad for value in network.features[3].parameters())
    assert all(value.requires_grad for value in network.features[4].parameters())


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "efficientnet_lite0"])
def test_the_exported_graph_says_what_torch_says_at_any_size(
    architecture: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    deployed = Deployed(build(architecture, 2).eval(), 96, temperature=1.5, positive=0).eval()
    to_onnx(deployed, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"]
    )
    generator = np.random.default_rng(0)
    for shape in ((1, 96, 96, 3), (3, 200, 150, 3), (1, 40, 300, 3)):
        pixels = generator.integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            expected = deployed(torch.from_numpy(pixels))[0].numpy()
        np.testing.assert_allclose(
            session.run(["probabilities"], {"images": pixels})[0], expected, atol=1e-3
        )


def test_resizing_and_normalising_keep_shape_and_range() -> None:
    images = resize(np.full((2, 30, 50, 3), 255, np.uint8), 32)
    assert images.shape == (2, 3, 32, 32) and images.max() == 255
    assert normalise(images[:, :1]).shape == (2, 3, 32, 32), "gray is repeated"
