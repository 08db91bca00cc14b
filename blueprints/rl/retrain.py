"""Retraining: the newest prices join the history, a policy learns anew, the better one serves.

python retrain.py --key-result KR5      what an alert or a timer starts (shared/actions.py)

The newest days are the test: neither policy has learnt from them, and on them they are compared.
Where the log begins long after the history ends, `validate` stops: the prices between are missing.
"""

from pathlib import Path
from typing import Any

import backtest
import numpy as np
import pandas as pd
import sources
from ingest import IngestParams
from predictor import Predictor
from pydantic import Field, PositiveInt

from shared import comparing, joining, params, releasing, retraining

Array = np.ndarray
Json = dict[str, Any]


class RetrainParams(params.Params):
    rows: PositiveInt
    test_days: int = Field(gt=comparing.LEAST_RECORDS)
    block_days: PositiveInt
    steps: PositiveInt
    seeds: tuple[int, ...] = Field(min_length=1)
    gate_without: tuple[str, ...]


def history(config: IngestParams, data: Path) -> pd.DataFrame:
    """timestamp (UTC), price, signals: of the last retraining, at first of what `ingest` read."""
    path, names = data / "prices.csv", ["timestamp", "price", *config.signals]
    if path.exists():
        table = sources.read_file(path, config.signals, config.timezone)
    else:
        table = pd.read_parquet("data/raw/prices.parquet")
    return table.loc[table["problem"] == "", names].sort_values("timestamp", kind="stable")


def observed(rows: list[Json], begin: pd.Timestamp, day: int) -> pd.DataFrame:
    """The same of labelled rows, oldest first, on the grid of the history that begins at `begin`.

    Of two rows for a step the one that came last counts, and nothing is later than the newest
    row: a replay that began anew is another history, of which only what followed is known.
    """
    step = pd.Timedelta(days=1) / day
    times = pd.to_datetime([row["timestamp"] for row in rows], format="ISO8601", utc=True)
    times = begin + (times.tz_localize(None) - begin) // step * step
    prices = [float(row["truth"]) for row in rows]
    table = pd.DataFrame({"timestamp": times.astype("datetime64[ns]"), "price": prices})
    signals = pd.DataFrame([row.get("signals", {}) for row in rows], index=table.index)
    table = pd.concat([table, signals], axis=1).drop_duplicates("timestamp", keep="last")
    newest = table["timestamp"][-day:].max()  # truths come nearly in order
    return table[table["timestamp"] <= newest].sort_values("timestamp")


def together(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """What was known before the first new step, and the new steps."""
    table = pd.concat([old[old["timestamp"] < new["timestamp"].iloc[0]], new], ignore_index=True)
    return table[old.columns].assign(timestamp=table["timestamp"].dt.tz_localize("UTC"))


def collect(live: Path, config: RetrainParams, source: IngestParams) -> pd.DataFrame:
    """Labelled steps -> live/data/prices.csv, behind all that was known before them.

    Raises Refused where they are too few to learn from and to compare on.
    """
    if (day := params.read_json("data/raw/meta.json").get("day")) is None:
        raise retraining.Refused("without prices there is nothing to learn from a log")
    old, logged = history(source, live / "data"), joining.Joined(live / "monitor.db")
    rows = [row for row in logged.newest(config.rows) if "timestamp" in row]
    new = observed(rows, old["timestamp"].iloc[0], day) if rows else old[:0]
    if (days := len(new) // day) < config.test_days + 7:
        wanted = f"{config.test_days} to compare on, and a week to learn from"
        raise retraining.Refused(f"the prices of {days} days have come; needed: {wanted}")
    table = together(old, new)
    with params.atomic(live / "data/prices.csv") as draft:
        table.to_csv(draft, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    added = {"rows": len(new), "data": retraining.version(live / "data")}
    retraining.audit("data_appended", live, **added)
    return table


def changes(live: Path, config: RetrainParams, newest: pd.Timestamp) -> Json:
    """Parameters of this run; newest: the last step, in the prices' own time zone."""
    return {
        "ingest.source": str((live / "data/prices.csv").resolve()),
        "ingest.limit": None,
        "prepare.test_from": str((newest - pd.Timedelta(days=config.test_days)).date()),
        "prepare.block_days": config.block_days,
        "train.steps": config.steps,
        "train.seeds": list(config.seeds),
    }


def losses(predictor: Predictor, work: Path) -> Array:
    """[days] of the test: minus what each whole day earns, from an empty battery."""
    table = pd.read_parquet(work / "data/prepared/market.parquet")
    first = int(np.flatnonzero(table["split"] == "test")[0])
    part, names = table[first - predictor.window + 1 :], predictor.meta["signals"]
    start = part["timestamp"].iloc[0].tz_localize("UTC").to_pydatetime()
    signals = part[names].to_numpy(float) if names else None
    steps = backtest.run(predictor, part["price"].to_numpy(), start, signals=signals)
    earned, day = np.array([step[2] for step in steps]), predictor.meta["day"]
    return -earned[: len(earned) // day * day].reshape(-1, day).sum(axis=1)


def main() -> None:
    asked, config = retraining.arguments(__doc__), params.read("retrain", RetrainParams)
    source = params.read("ingest", IngestParams)
    table = collect(asked.live, config, source)
    newest = table["timestamp"].iloc[-1].tz_convert(source.timezone)
    work = retraining.workspace(asked.live)
    retraining.ease(work, config.gate_without)
    retraining.configure(work, changes(asked.live, config, newest))
    retraining.reproduce(work)
    models = [Predictor(work / "export"), Predictor(releasing.serving(asked.live))]
    comparison = releasing.compare(*[losses(model, work) for model in models], seed=0)
    retraining.finish(asked, work, comparison)


if __name__ == "__main__":
    main()
