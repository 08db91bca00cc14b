"""The prepared images as torch sees them: pixels, targets, order, turns, jitter."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from model import turn
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
    """(uint8 [channels, size, size], target [classes]) of one split, read from disk.

    turns: what an image may be turned by, drawn at random.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        targets: np.ndarray,
        turns: list[int],
        change: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self.pixels = np.load(PREPARED / "images.npy", mmap_mode="r")
        self.rows, self.targets = samples.index.to_numpy(), torch.from_numpy(targets)
        self.turns, self.change = turns, change

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.from_numpy(self.pixels[self.rows[item]].copy())
        number = self.turns[int(torch.randint(len(self.turns), ()))]
        return self.change(turn(image, number)), self.targets[item]


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


def jittered(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Brightness and contrast of uint8 pixels vary by this share up and down; 0: they stay."""
    return v2.ColorJitter(brightness=share, contrast=share) if share else v2.Identity()


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
