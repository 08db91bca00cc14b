"""The frozen blocks' maps of every image, computed once: training then costs only what learns.

ONNX Runtime computes them: on CPUs faster than torch (export.json: `onnx_fp32.speedup`).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from dataset import Images
from model import normalise
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from shared import params

BATCH = 32


class Normalised(nn.Module):
    """Pixels 0..255 [n, 1 or 3, size, size] -> maps."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.blocks(normalise(images))
        return maps


class Maps(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """(float16 [channels, h, w] of a random view, target [classes]) per image, read from disk."""

    def __init__(self, path: Path, targets: torch.Tensor) -> None:
        self.maps, self.targets = np.load(path, mmap_mode="r"), targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        view = int(torch.randint(self.maps.shape[1], ()))
        return torch.from_numpy(self.maps[item, view].copy()), self.targets[item]


def runtime(blocks: nn.Module, example: torch.Tensor) -> Callable[[torch.Tensor], np.ndarray]:
    """The blocks, normalisation first, in ONNX Runtime; example: pixels [n, channels, h, w]."""
    program = torch.onnx.export(
        Normalised(blocks).eval(),
        (example.float(),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    content = program.model_proto.SerializeToString()  # type: ignore[union-attr]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: np.asarray(session.run(None, {name: pixels.float().numpy()})[0])


def write_maps(blocks: nn.Module, images: Images, views: int, seed: int, path: Path) -> None:
    """float16 [n, views, channels, h, w] as .npy: each image `views` times, each augmented anew.

    Nothing is done where `path` exists: it is written whole or not at all. Raises SystemExit when
    the disk has no room for it.
    """
    if path.exists():
        return
    example = torch.stack([images[0][0]] * 2)
    run = runtime(blocks, example)
    shape = (len(images), views, *run(example).shape[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    need, free = 2 * int(np.prod(shape)) / 1e9, shutil.disk_usage(path.parent).free / 1e9
    if need > free:
        raise SystemExit(
            f"params.yaml: train.views: {views} views need {need:.1f} GB, {free:.1f} GB are free"
        )
    with params.atomic(path) as draft:
        maps = np.lib.format.open_memmap(draft, "w+", np.float16, shape)
        with tqdm(total=views * len(images), desc="frozen blocks", unit="image") as bar:
            for view in range(views):
                torch.manual_seed(seed * 1000 + view)  # the augmentation of this view
                for number, (pixels, _) in enumerate(DataLoader(images, BATCH)):
                    maps[number * BATCH :][: len(pixels), view] = run(pixels)
                    bar.update(len(pixels))
        maps.flush()
