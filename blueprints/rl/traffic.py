"""The held-out year as the battery's traffic, hour by hour; the price of each is its truth.

python traffic.py --count 2000                  as it was, from the first day on
python traffic.py --count 2000 --shift crisis   prices ten times as high
python traffic.py --count 2000 --seed 90        from the 91st day on

The battery holds what the answer before said. The past is no stale feed to a service that was
started with SERVICE_MAX_AGE_STEPS=null.
"""

import itertools
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sources
from market import PREPARED

from shared import params, replay
from shared.replay import Item

Array = np.ndarray
Json = dict[str, Any]


def panhandle(table: pd.DataFrame) -> Array:
    """The same hours in the north of Texas: more wind than lines, one price in twelve below 0."""
    if params.read_json(PREPARED / "meta.json").get("point") is None:
        raise SystemExit("traffic: --shift zone: another zone is known of the sample only")
    found = sources.read_sample(Path("sample"), "HB_PAN").set_index("timestamp")["price"]
    return found.reindex(table["timestamp"]).to_numpy()


# name -> what becomes of the prices of the held-out part
SHIFTS: dict[str, Callable[[pd.DataFrame], Array]] = {
    "none": lambda table: table["price"].to_numpy(),
    "crisis": lambda table: table["price"].to_numpy() * 10,  # as in Europe in August 2022
    "zone": panhandle,
}


def held_out() -> tuple[pd.DataFrame, Json]:
    """Whole weeks of the test part, in order."""
    meta = params.read_json(PREPARED / "meta.json")
    if "day" not in meta:
        raise SystemExit("traffic: an environment without prices has nothing held out")
    table = pd.read_parquet(PREPARED / "market.parquet")
    table = table[table["split"] == "test"].reset_index(drop=True)
    return table[: len(table) // (7 * meta["day"]) * 7 * meta["day"]], meta


def items(shift: str, seed: int, once: bool = False) -> Generator[Item, Json | None, None]:
    """Steps, `seed` days after the first; each is sent the answer to the one before.

    once: as many as are held out, else without end.

    Weeks follow each other when the year begins again, and time goes on, so no moment comes twice.
    """
    table, meta = held_out()
    prices, day = SHIFTS[shift](table), meta["day"]
    signals = [
        dict(zip(meta["signals"], row, strict=True))
        for row in table[meta["signals"]].to_numpy().tolist()
    ]
    begin, step = table["timestamp"].iloc[0].tz_localize("UTC"), pd.Timedelta(days=1) / day
    charge, power = 0.0, 0.0
    for at in itertools.islice(itertools.count(seed * day), len(prices) if once else None):
        now = at % len(prices)
        week = np.take(prices, np.arange(now + 1 - 7 * day, now + 1), mode="wrap")
        body = {"prices": week.tolist(), "charge_mwh": charge, "power_mw": power}
        body |= {"timestamp": (begin + at * step).isoformat()}
        if meta["signals"]:
            body |= {"signals": signals[now], "signals_day_ago": signals[now - day]}
        answer = yield Item(body, float(prices[now]))
        if answer and "stale" in answer["guards"]:
            raise SystemExit("traffic: the past is stale: start it with SERVICE_MAX_AGE_STEPS=null")
        power = answer["power_mw"] if answer else 0.0
        charge = answer["charge_after_mwh"] if answer else charge


def main() -> None:
    asked = replay.arguments(__doc__, SHIFTS, rate=50)
    asked.clients = 1  # what the battery holds is known when it has done what the answer says
    replay.send(asked, "/act", items(asked.shift, asked.seed, asked.once))


if __name__ == "__main__":
    main()
