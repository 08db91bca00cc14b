"""What `prepare` wrote, as arrays: prices, what can be seen at each step, what hindsight knows."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from features import Moments
from safetensors.numpy import load_file

from shared import params

PREPARED = Path("data/prepared")
Array = np.ndarray


class Market(NamedTuple):
    """A history of prices; `segments` are its unbroken parts that belong to one split."""

    times: pd.DatetimeIndex
    prices: Array
    seen: Moments
    hindsight: Array  # [t, levels + 1], 0 after the end of its segment
    segments: list[Array]
    day: int  # steps
    step_hours: float
    signals: int

    def at(self, steps: Array) -> Moments:
        """What is seen at some steps."""
        return Moments(*(values[steps] for values in self.seen))


def segments(splits: Array, wanted: str) -> list[Array]:
    """The steps of each unbroken run of the split."""
    inside = np.flatnonzero(splits == wanted)
    return [part for part in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1) if len(part)]


def read(split: str, folder: Path = PREPARED) -> Market:
    """The market, with the segments of train, validation or test."""
    table = pd.read_parquet(folder / "market.parquet")
    arrays = load_file(folder / "moments.safetensors")
    meta: dict[str, Any] = params.read_json(folder / "meta.json")
    return Market(
        pd.DatetimeIndex(table["timestamp"]),
        table["price"].to_numpy(),
        Moments(*(arrays[name] for name in Moments._fields)),
        arrays["hindsight"],
        segments(table["split"].to_numpy(), split),
        meta["day"],
        24 / meta["day"],
        len(meta["signals"]),
    )
