"""Embeddings: principal components of what the last layer is given, the same in torch and ONNX."""

from pathlib import Path

import numpy as np
import pytest
import torch
from deployed import Deployed
from embedding import last_layer, principal
from export import to_onnx
from model import build
from predictor import Predictor
from torch import nn

from shared import params


def test_components_vary_by_one_and_not_together() -> None:
    features = torch.randn(400, 6) @ torch.randn(6, 20) + 3
    centre, axes = principal(features, 4)
    found = (features - centre) @ axes.T
    torch.testing.assert_close(found.T.cov(), torch.eye(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(centre, features.mean(0))


def test_directions_without_variance_are_left_out() -> None:
    features = torch.randn(50, 2) @ torch.randn(2, 20)
    assert principal(features, 8)[1].shape == (2, 20)
    assert principal(torch.ones(50, 20), 8)[1].shape == (0, 20)


def test_the_sign_is_that_of_the_largest_weight() -> None:
    features = torch.randn(100, 5)
    _, axes = principal(features, 3)
    _, mirrored = principal(-features, 3)
    torch.testing.assert_close(axes, mirrored)


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "efficientnet_lite0", "resnet18"])
def test_the_graph_gives_the_pooled_input_of_the_last_layer(
    architecture: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = build(architecture, 2).eval()
    deployed = Deployed(network, 64, 3, [0, 1], 1.0, positive=0)
    images = torch.randint(0, 256, (12, 3, 64, 64), dtype=torch.uint8)
    deployed.describe(images, 4)
    to_onnx(deployed, tmp_path / "model_int8.onnx")
    meta = {"classes": ["a", "b"], "positive": "a", "threshold": 0.5, "max_megapixels": 1}
    params.write_json(tmp_path / "model.json", meta)
    picture = images[0].permute(1, 2, 0).numpy()
    found = Predictor(tmp_path).answer(np.ascontiguousarray(picture)).embedding

    seen: list[torch.Tensor] = []
    last = deployed.network.get_submodule(name_of(deployed.network, last_layer(deployed.network)))
    last.register_forward_pre_hook(lambda _m, given: seen.append(given[0]))
    with torch.no_grad():
        deployed(images[:1].permute(0, 2, 3, 1))
    expected = seen[-1][0].mean((1, 2)) if seen[-1].ndim == 4 else seen[-1][0]
    assert found is not None and found.shape == (4,)
    torch.testing.assert_close(
        torch.from_numpy(found), deployed.axes @ (expected - deployed.centre), atol=1e-3, rtol=1e-3
    )


def name_of(network: nn.Module, part: nn.Module) -> str:
    return next(name for name, one in network.named_modules() if one is part)
