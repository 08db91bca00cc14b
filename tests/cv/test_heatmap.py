"""The heat map that is served against Grad-CAM of the paper, and against where the mark is."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from deployed import Deployed
from export import to_onnx
from heatmap import grad_cam
from model import Features, build, normalise
from predictor import Predictor
from pretrained import start_weights
from torch import nn
from torch.nn import functional

from shared import params

SIZE = 224
# (row, column) of the middle of the mark
PLACES = [(56, 56), (56, 168), (168, 56), (168, 168), (112, 112)]


def picture(place: tuple[int, int] | None, seed: int) -> np.ndarray:
    """uint8 [SIZE, SIZE, 3] gray noise, with a chequered mark at the place."""
    pixels = np.random.default_rng(seed).integers(110, 150, (SIZE, SIZE), dtype=np.uint8)
    if place:
        rows, columns = (slice(middle - 24, middle + 24) for middle in place)
        pixels[rows, columns] = np.kron(np.indices((6, 6)).sum(0) % 2 * 255, np.ones((8, 8)))
    return np.repeat(pixels[:, :, None], 3, axis=2)


def seen(pictures: list[np.ndarray]) -> torch.Tensor:
    """The pictures as a network gets them."""
    return normalise(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def finder(architecture: str) -> nn.Module:
    """Packaged weights, and a last layer that tells marked pictures (class 0) from plain ones."""
    network = start_weights(build(architecture, 2), architecture, "packaged").eval()
    marked = seen([picture(place, seed) for seed, place in enumerate(PLACES)])
    plain = seen([picture(None, seed) for seed in range(len(PLACES))])
    last = next(part for part in reversed(list(network.modules())) if hasattr(part, "weight"))
    with torch.no_grad():
        means = [Features(network)(images).mean(0) for images in (marked, plain)]
        difference = functional.normalize(means[0] - means[1], dim=0)
        last.weight.copy_(torch.stack([difference, -difference]).view_as(last.weight))
        last.bias.zero_()
    return network


def of_the_paper(features: nn.Module, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Grad-CAM (Selvaraju et al. 2017) of class 0, as its formulas say, over the last features."""
    maps: list[torch.Tensor] = []
    hook = features.register_forward_hook(lambda _m, _i, out: maps.append(out))
    logits = network(images)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), maps[0])
    alpha = gradient.sum((2, 3)) / (gradient.shape[2] * gradient.shape[3])
    return torch.einsum("nc,nchw->nhw", alpha, maps[0]).clamp_min(0).detach()


def hottest(heat: np.ndarray) -> tuple[float, float]:
    """(row, column) of the hottest cell's middle, in pixels."""
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    return (row + 0.5) * SIZE / heat.shape[0], (column + 0.5) * SIZE / heat.shape[1]


@pytest.fixture(scope="module", params=["squeezenet1_1", "efficientnet_lite0"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    return finder(request.param)


@pytest.fixture(scope="module")
def served(
    network: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[np.ndarray], np.ndarray]:
    """The heat map of the exported graph, as the service gives it."""
    folder = tmp_path_factory.mktemp("export")
    to_onnx(Deployed(network, SIZE, 3, [0, 7], 1.0, positive=0), folder / "model_int8.onnx")
    meta = {"classes": ["marked", "plain"], "positive": "marked", "threshold": 0.5}
    params.write_json(folder / "model.json", meta | {"max_megapixels": 1})
    predictor = Predictor(folder)

    def heatmap(pixels: np.ndarray) -> np.ndarray:
        found = predictor.answer(pixels, heatmap=True).heatmap
        assert found is not None
        return found

    return heatmap


@pytest.mark.parametrize("place", PLACES)
def test_the_served_heat_map_and_grad_cam_point_at_the_mark(
    network: nn.Module, served: Callable[[np.ndarray], np.ndarray], place: tuple[int, int]
) -> None:
    pixels = picture(place, seed=100)
    heat, images = served(pixels), seen([pixels])
    paper = of_the_paper(network.features, network, images)[0].numpy()  # type: ignore[arg-type]
    assert heat.min() >= 0 and heat.max() == pytest.approx(1)
    assert hottest(heat) == hottest(paper)
    assert max(abs(a - b) for a, b in zip(hottest(heat), place, strict=True)) < 24 + SIZE / 14
    np.testing.assert_allclose(heat, paper / paper.max(), atol=0.02)
    own = grad_cam(network, images, 0)[0].numpy()
    np.testing.assert_allclose(own, heat, atol=0.02)
