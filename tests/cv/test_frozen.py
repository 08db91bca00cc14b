"""What comes before the learning blocks is the same by ONNX Runtime as by torch."""

import pytest
import torch
from frozen import before, split
from model import build, normalise


@pytest.mark.parametrize(
    ("architecture", "blocks"), [("squeezenet1_1", 6), ("efficientnet_lite0", 8), ("resnet18", 0)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_frozen_blocks_say_what_torch_says(architecture: str, blocks: int, channels: int) -> None:
    frozen, _ = split(build(architecture, 2).eval(), blocks)
    pixels = torch.randint(0, 256, (5, channels, 64, 64), dtype=torch.uint8)
    found = before(frozen, pixels[:1], torch.device("cpu"))(pixels)
    with torch.no_grad():
        torch.testing.assert_close(found, frozen(normalise(pixels)), atol=1e-3, rtol=1e-3)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "efficientnet_lite0", "densenet121"])
def test_frozen_and_learned_parts_together_are_the_network(architecture: str) -> None:
    network = build(architecture, 2).eval()
    frozen, learned = split(network, 4)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(learned.eval()(frozen(images)), network(images))
    assert set(learned.state_dict()) < set(network.state_dict()), "names are kept"


def test_an_architecture_without_blocks_cannot_be_frozen() -> None:
    with pytest.raises(SystemExit, match=r"train\.frozen_blocks"):
        split(build("resnet18", 2), 4)
