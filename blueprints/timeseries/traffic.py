"""The held-out months as live traffic: forecasts by series, and what these months were.

python traffic.py --count 2000                  as they were
python traffic.py --count 2000 --shift higher   demand is up by a third from now on
python traffic.py --count 2000 --shift new      series that nobody has trained on, by their history

The pipeline's online store has the held-out months, so a service forecasts what comes after them.
With LIVE_FOLDER=live (or simulated) they are taken out of the store of the model served there.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import store

from shared import audit, lineage, params, replay
from shared.replay import Item

PREPARED, EXPORT = Path("data/prepared"), Path("export")
HIGHER = 4 / 3
Ask = Callable[[str, pd.DataFrame, pd.DataFrame, np.random.Generator], Item]


def told(rows: pd.DataFrame, factor: float) -> dict[str, float]:
    """The truth as /feedback takes it: `factor` times the value of each step that was not missing.

    By timestamp, so that it holds for whatever moment a forecast begins at.
    """
    seen = rows[~rows["filled"]]
    times = [time.isoformat() for time in seen["timestamp"]]
    return dict(zip(times, (seen["value"] * factor).tolist(), strict=True))


def planned(rows: pd.DataFrame, covariates: list[str]) -> dict[str, Any]:
    """What a question must say of the steps ahead, for a model with covariates: those of `rows`."""
    if not covariates:
        return {}
    return {"horizon": len(rows), "covariates": rows[covariates].to_dict("list")}


def by_id(factor: float) -> Ask:
    return lambda name, _, later, __: Item({"series_id": name}, told(later, factor))


def stranger(_: str, past: pd.DataFrame, later: pd.DataFrame, draw: np.random.Generator) -> Item:
    """A series of another size: what is known of it is its history."""
    factor = float(np.exp(draw.normal()))
    times = [time.isoformat() for time in past["timestamp"]]
    history = {"timestamps": times, "values": (past["value"] * factor).tolist()}
    return Item({"history": history}, told(later, factor))


# name -> what is asked about a series, its training part and its held-out one
SHIFTS: dict[str, Ask] = {"none": by_id(1.0), "higher": by_id(HIGHER), "new": stranger}


def items(shift: str, seed: int, once: bool = False) -> Iterator[Item]:
    """A forecast of each series, without end unless `once`: in a new order each time round."""
    table = pd.read_parquet(PREPARED / "series.parquet")
    parts = {split: dict(list(rows.groupby("series_id"))) for split, rows in table.groupby("split")}
    names, draw = sorted(parts["test"]), np.random.default_rng(seed)
    covariates = params.read_json(PREPARED / "meta.json")["covariates"]
    for _ in replay.rounds(once):
        for i in draw.permutation(len(names)):
            past, later = (parts[split][names[i]] for split in ("train", "test"))
            item = SHIFTS[shift](names[i], past, later, draw)
            yield item._replace(body=item.body | planned(later, covariates))


def rewind(folder: Path) -> int:
    """Let the online store of the model in `folder` know no more than its training part.

    Gives the number of series; none where it is not the pipeline's present model.
    """
    meta: dict[str, Any] = params.read_json(folder / "model.json")
    if meta != params.read_json(EXPORT / "model.json"):
        return 0
    ends = dict(zip(meta["series"], pd.to_datetime(meta["ends"], utc=True), strict=True))
    table = pd.read_parquet(PREPARED / "features.parquet")
    rows = table[table["event_timestamp"] == table["series_id"].map(ends)]
    store.reading(folder / "store").write_to_online_store(store.VIEW, rows)
    return len(rows)


def main() -> None:
    asked = replay.arguments(__doc__, SHIFTS, rate=20)
    if live := os.environ.get(audit.FOLDER):
        number = rewind(lineage.serving(Path(live)))
        print(f"traffic: the held-out months of {number} series lie ahead", file=sys.stderr)
    replay.send(asked, "/forecast", items(asked.shift, asked.seed, asked.once))


if __name__ == "__main__":
    main()
