"""Histories of prices for tests, made as `prepare` makes them, without files."""

from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray
PHYSICAL = {
    "power_mw": 1.0,
    "energy_mwh": 4.0,
    "charge_efficiency": 1.0,
    "discharge_efficiency": 0.9,
    "degradation_per_mwh": 0.0,
    "grid_import_mw": None,
    "grid_export_mw": None,
    "ramp_mw": None,
}
ENV = PHYSICAL | {
    "id": "battery",
    "actions": 3,
    "episode_days": 2,
    "reward": "regret",
    "reward_clip": 5.0,
}


def prices(days: int, day: int = 24, seed: int = 0) -> Array:
    """A daily shape, noise and a few spikes."""
    generator, steps = np.random.default_rng(seed), np.arange(days * day)
    shape = 40 + 15 * np.sin(steps * 2 * np.pi / day)
    found = shape + generator.normal(0, 5, len(steps))
    found[generator.integers(0, len(steps), 1 + days // 10)] *= 10
    return found


def market(config: Any, days: int = 21, day: int = 24, seed: int = 0) -> Any:
    """A Market whose whole history after the first week is one training segment."""
    import battery as physics
    import views
    from market import Market

    table = pd.DataFrame({"price": prices(days, day, seed)})
    table["timestamp"] = pd.date_range("2021-01-01", periods=len(table), freq=f"{1440 // day}min")
    table["hour"] = table["timestamp"].dt.hour + table["timestamp"].dt.minute / 60
    table["weekend"] = (table["timestamp"].dt.dayofweek >= 5).astype(float)
    battery = physics.build(config.model_dump(), 24 / day)
    meta = {"day": day, "signals": [], "scales": [], "usual_price": 40.0}
    split = np.where(np.arange(len(table)) < 7 * day - 1, "start", "train").astype(object)
    seen, values = views.seen(table, battery, meta), table["price"].to_numpy()
    return Market(
        pd.DatetimeIndex(table["timestamp"]),
        values,
        seen,
        views.hindsight(values, split, battery),
        [np.flatnonzero(split == "train")],
        day,
        24 / day,
        0,
    )
