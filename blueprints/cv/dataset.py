"""The prepared images as torch sees them: pixels, targets, order, augmentation."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset, Sampler
from torchvision.transforms import v2

PREPARED = Path("data/prepared")


def samples(*splits: str) -> pd.DataFrame:
    """The rows of samples.csv in these splits; the index is the row in images.npy."""
    types, path = {"label": str, "subgroup": str}, PREPARED / "samples.csv"
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    table = table.fillna({"subgroup": ""})
    return table[table["split"].isin(splits)] if splits else table


class Images(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """(uint8 [channels, size, size], target [classes]) of one split, read from disk."""

    def __init__(
        self, samples: pd.DataFrame, targets: np.ndarray, augment: v2.Transform | None = None
    ) -> None:
        self.pixels = np.load(PREPARED / "images.npy", mmap_mode="r")
        self.rows, self.targets, self.augment = (
            samples.index.to_numpy(),
            torch.from_numpy(targets),
            augment,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.from_numpy(self.pixels[self.rows[item]].copy())
        return (self.augment(image) if self.augment else image), self.targets[item]


class Order(Sampler[int]):
    """A new order of all rows for each epoch, the same in every process and after a restart."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def __iter__(self) -> Iterator[int]:
        return iter(
            np.random.default_rng([self.seed, self.epoch]).permutation(self.length).tolist()
        )

    def __len__(self) -> int:
        return self.length


def augmentation(flips: bool, turns: bool, jitter: float) -> v2.Transform:
    """Random mirror images, transposition, brightness and contrast, on uint8 pixels."""
    steps: list[torch.nn.Module] = [v2.Identity()]
    if flips:
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if turns:
        steps += [v2.RandomApply([v2.Lambda(lambda image: image.transpose(-1, -2))], p=0.5)]
    if jitter:
        steps += [v2.ColorJitter(brightness=2 * jitter, contrast=2 * jitter)]
    return v2.Compose(steps)


def soft_targets(
    samples: pd.DataFrame, classes: list[str], positive: str, soft: bool
) -> np.ndarray:
    """[n, classes] float32: the label or, with two classes, the probability where it is given."""
    targets = np.eye(len(classes), dtype=np.float32)[
        [classes.index(label) for label in samples["label"]]
    ]
    known = samples["probability"].notna().to_numpy()
    if soft and len(classes) == 2 and known.any():
        index = classes.index(positive)
        targets[known, index] = samples["probability"][known]
        targets[known, 1 - index] = 1 - samples["probability"][known]
    return targets
