"""The data stages of the blueprint in a folder, on a history of prices, with their defaults."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from rl import markets
from shared import params

BLUEPRINT = Path(__file__).parents[2] / "blueprints/rl"
SHORT = {
    "steps": 1024,
    "environments": 4,
    "seeds": [0, 1],
    "validations": 2,
    "validation_episodes": 3,
    "network": [8],
    "hyperparameters": {"n_steps": 64, "batch_size": 64, "n_epochs": 1},
}


def parameters(folder: Path, **changes: dict[str, Any]) -> None:
    """params.yaml of the blueprint with changes by section."""
    values = yaml.safe_load((BLUEPRINT / "params.yaml").read_text())
    values["ingest"] |= {"source": "prices.csv", "timezone": "Europe/Berlin"}
    values["prepare"] |= {"test_from": None, "block_days": 7, "random_steps": 1000}
    values["env"] |= {"episode_days": 2}
    values["validate"] |= {"min_days": 20}
    values["train"] |= SHORT
    for section, change in changes.items():
        values[section] |= change
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def history(folder: Path, days: int = 70, seed: int = 0) -> pd.DataFrame:
    """prices.csv: hourly, with a load, a gap of three hours."""
    times = pd.date_range("2024-03-01", periods=days * 24, freq="h", tz="UTC")
    prices = markets.prices(days, seed=seed).round(2)
    table = pd.DataFrame({"timestamp": times, "price": prices, "load": prices * 3 + 100})
    table["load"] = table["load"].rolling(5, min_periods=1).mean()
    table = table.drop(index=[400, 401, 402])
    table.to_csv(folder / "prices.csv", index=False)
    return table


def run(*stages: str) -> None:
    """The main() of stages, in the present folder."""
    import importlib

    for stage in stages:
        try:
            importlib.import_module(stage).main()
        finally:
            for lock in params._held:  # which a process keeps to its end
                lock.release()
            params._held.clear()
