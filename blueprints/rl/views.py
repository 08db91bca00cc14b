"""What can be seen at every step of a history, and what hindsight knows of it."""

from typing import Any

import battery as physics
import features
import market
import numpy as np
import pandas as pd
import planning
from features import DAYS, Moments

CHUNK = 4096  # windows at a time
Array = np.ndarray


def seen(table: pd.DataFrame, battery: physics.Battery, meta: dict[str, Any]) -> Moments:
    """What can be seen at every step from the end of the first week on; zeros before."""
    prices, day, names = table["price"].to_numpy(), meta["day"], meta["signals"]
    windows = np.lib.stride_tricks.sliding_window_view(prices, DAYS * day)
    values = table[names].to_numpy(float)
    first = len(prices) - len(windows)
    parts = []
    for begin in range(0, len(windows), CHUNK):
        at = np.arange(begin, min(begin + CHUNK, len(windows))) + first
        given = features.signals(values[at], values[at - day], meta["scales"])
        hour, weekend = (table[name].to_numpy(float)[at] for name in ("hour", "weekend"))
        windows_here = windows[at - first]
        parts.append(
            features.moments(battery, windows_here, hour, weekend, given, meta["usual_price"])
        )
    whole = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Moments(
        *(np.concatenate([np.zeros((first, *part.shape[1:]), part.dtype), part]) for part in whole)
    )


def hindsight(prices: Array, split: Array, battery: physics.Battery) -> Array:
    """Worth of each level of charge at each step to one who knows the prices of its segment."""
    found = np.zeros((len(prices), planning.levels(battery) + 1))
    for name in ("train", "validation"):
        for segment in market.segments(split, name):
            found[segment] = planning.path(battery, prices[segment])[:-1]
    return found
