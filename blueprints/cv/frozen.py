"""What comes before the blocks that learn: normalisation and the frozen blocks.

On CPUs ONNX Runtime runs them, faster than torch (export.json: `onnx_fp32.speedup`); the rest then
learns in a fraction of the time: a step of SqueezeNet above six blocks takes little more than half.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from model import normalise
from torch import nn

Function = Callable[[torch.Tensor], torch.Tensor]


def split(network: nn.Module, blocks: int) -> tuple[nn.Module, nn.Module]:
    """(frozen, learned): learned(frozen(images)) is network(images), `frozen` the first `blocks`.

    `learned` is a copy that keeps the parameters' names. Raises SystemExit where the architecture
    does not begin with a sequence called `features`.
    """
    if blocks == 0:
        return nn.Identity(), copy.deepcopy(network)
    sequence = getattr(network, "features", None)
    if not isinstance(sequence, nn.Sequential) or blocks >= len(sequence):
        raise SystemExit(
            "params.yaml: train.frozen_blocks: this architecture has no such blocks; set 0"
        )
    parts, learned = list(sequence.named_children()), copy.deepcopy(network)
    learned.features = nn.Sequential(OrderedDict(copy.deepcopy(parts[blocks:])))
    return nn.Sequential(OrderedDict(parts[:blocks])).eval(), learned


class Normalised(nn.Module):
    """Pixels 0..255 [n, 1 or 3, size, size] -> maps, in the layout that is fastest on CPUs."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.blocks(normalise(images))
        return maps


def before(blocks: nn.Module, example: torch.Tensor, device: torch.device) -> Function:
    """Pixels [n, channels, size, size] -> what the learning blocks get, dense by channel.

    example: pixels of one image or more, which set channels and size.
    """
    whole = Normalised(blocks).eval()
    if device.type == "cpu" and not isinstance(blocks, nn.Identity):
        run = runtime(blocks, example)
        function: Function = lambda pixels: torch.from_numpy(run(pixels))  # noqa: E731
    else:
        function = torch.no_grad()(whole.to(device))
    return lambda pixels: function(pixels).contiguous(memory_format=torch.channels_last)


def runtime(blocks: nn.Module, example: torch.Tensor) -> Callable[[torch.Tensor], np.ndarray]:
    """The blocks, normalisation first, in ONNX Runtime; example: pixels [n, channels, h, w]."""
    program = torch.onnx.export(
        Normalised(blocks).eval(),
        (torch.cat([example, example]).float(),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    content = program.model_proto.SerializeToString()  # type: ignore[union-attr]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # its threads must not wait busily while torch learns
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: np.asarray(session.run(None, {name: pixels.float().numpy()})[0])
