"""Retraining: the steps that have come join their series, the pipeline runs, the better one serves.

python retrain.py --key-result KR3      what an alert or a timer starts (shared/actions.py)

The newest steps of every series (`retrain.held_out`) are not learnt: they are the new model's test
in the gate, and on them it is compared with the model that serves. That is fair, for neither has
learnt from them: the champion's forecasts of these steps are those it gave, before they had come.
The challenger forecasts them from the end of what it has learnt, and so knows the steps between;
to bring these in is what a retraining is for, and once it serves it knows all. Requests by history
are of no series that could grow: they are judged, not learnt from.
"""

import os
from pathlib import Path
from typing import Any

import evaluate
import frequency
import monitor
import numpy as np
import pandas as pd
import store
from pydantic import PositiveInt

from shared import joining, lineage, params, provenance, releasing, retraining

RAW, KEY = Path("data/raw"), ["series_id", "timestamp"]
Rows = list[dict[str, Any]]


class RetrainParams(params.Params):
    rows: PositiveInt
    held_out: PositiveInt


def usable(rows: Rows, version: str) -> Rows:
    """The newest forecast of each series that the model `version` gave and whose truth has come."""
    found = {
        row["series_id"]: row
        for row in rows
        if row["model"] == version and row["series_id"] is not None and monitor.arrived(row)[0]
    }
    return list(found.values())


def come(rows: Rows, covariates: list[str]) -> pd.DataFrame:
    """What has come since these forecasts, as a long table."""
    parts = []
    for row in rows:
        steps, truth = monitor.arrived(row)
        times = pd.to_datetime([row["timestamps"][i] for i in steps])
        columns = {"series_id": row["series_id"], "timestamp": times, "value": truth}
        columns |= {name: np.array(row["covariates"][name])[steps] for name in covariates}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def together(raw: pd.DataFrame, known: dict[str, pd.Timestamp], new: pd.DataFrame) -> pd.DataFrame:
    """The source's rows up to what the service knows of each series, and what has come since.

    known: the newest timestamp in the online store, by series; of others all rows stay.
    """
    end = raw["series_id"].map(known)
    table = pd.concat([raw[end.isna() | (raw["timestamp"] <= end)], new], ignore_index=True)
    return table.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True)


def newest(folder: Path) -> dict[str, pd.Timestamp]:
    """What the service of the model in `folder` knows: the last timestamp of each series."""
    names = params.read_json(folder / "model.json")["series"]
    online = store.reading(Path(os.environ.get("FEATURE_STORE", folder / "store")))
    return {row["series_id"]: row["last"] for row in store.newest(online, names)}


def collect(live: Path, config: RetrainParams) -> Rows:
    """The table in live/data/ grows; gives the forecasts by which it did.

    Raises Refused where nothing has come.
    """
    data, covariates = live / "data", params.read_json(RAW / "meta.json")["covariates"]
    version = lineage.current(live) or str(provenance.collect()["model_version"])
    rows = usable(joining.Joined(live / "monitor.db").newest(config.rows), version)
    if not rows:
        raise retraining.Refused(f"no truth has come for a series that {version} was trained on")
    new, path = come(rows, covariates), data / "come.parquet"
    if path.exists():
        new = pd.concat([pd.read_parquet(path), new]).drop_duplicates(KEY, keep="last")
    raw = pd.read_parquet(RAW / "series.parquet")
    raw = raw[raw["problem"] == ""].drop(columns="problem")
    table = together(raw, newest(lineage.serving(live)), new)
    for name, rows_of in {"come.parquet": new, "series.parquet": table}.items():
        with params.atomic(data / name) as draft:
            rows_of.to_parquet(draft, index=False)
    retraining.audit("data_appended", live, rows=len(rows), data=retraining.version(data))
    return rows


def losses(rows: Rows, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scaled errors of challenger and champion, [series] each, over the steps not learnt by either.

    The challenger's forecasts are those its export was checked against.
    """
    meta = params.read_json(work / "models/model.json")
    forecasts = evaluate.forecast(meta, work / "models")["chosen"]
    index, found = {name: i for i, name in enumerate(meta["series"])}, []
    for row in rows:
        if row["series_id"] not in index or not row["scale"] > 0:
            continue
        i = index[row["series_id"]]
        end = pd.Timestamp(meta["ends"][i])
        times = frequency.next_steps(end, meta["frequency"], meta["horizon"])
        ours = {time.isoformat(): mean for time, mean in zip(times, forecasts[i], strict=True)}
        pairs = [
            (abs(ours[time] - real), abs(row["mean"][step] - real))
            for step, real in zip(*monitor.arrived(row), strict=True)
            if (time := row["timestamps"][step]) in ours
        ]
        if pairs:
            found.append(np.mean(pairs, axis=0) / row["scale"])
    both = np.reshape(found, (-1, 2))
    return both[:, 0], both[:, 1]


def changes(live: Path, config: RetrainParams) -> dict[str, Any]:
    """Parameters of this run.

    The kind of model stays what people had chosen: a backtest across a shift chooses by chance.
    """
    source = str((live / "data/series.parquet").resolve())
    found = {"ingest.source": source, "ingest.limit": None, "prepare.held_out": config.held_out}
    chosen = params.read_json(lineage.serving(live) / "model.json")["chosen"]
    return found | ({} if chosen == "per series" else {"train.candidates": [chosen]})


def main() -> None:
    asked, config = retraining.arguments(__doc__), params.read("retrain", RetrainParams)
    rows = collect(asked.live, config)
    work = retraining.workspace(asked.live)
    retraining.configure(work, changes(asked.live, config))
    retraining.reproduce(work)
    comparison = releasing.compare(*losses(rows, work), seed=0)
    retraining.finish(asked, work, comparison)


if __name__ == "__main__":
    main()
