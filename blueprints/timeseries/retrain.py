"""Retraining: the steps that have come join their series, the pipeline runs, the better one serves.

python retrain.py --key-result KR3      what an alert or a timer starts (shared/actions.py)

The newest steps of every series (`retrain.held_out`, at most half of those that have come) are not
learnt: they are the new model's test in the gate, and on them it is compared with the model that
serves. That is fair, for neither has learnt from them: the champion's forecasts of these steps are
those it gave, before they had come. The challenger forecasts them from the end of what it has
learnt, and so knows the steps between; to bring these in is what a retraining is for, and once it
serves it knows all. Requests by history are of no series that could grow: they are judged, not
learnt from.
"""

from pathlib import Path
from typing import Any

import evaluate
import frequency
import monitor
import numpy as np
import pandas as pd
from grown import KEY, Rows, come, newest, together, with_zeros
from pydantic import PositiveInt

from shared import joining, lineage, params, provenance, releasing, retraining

RAW = Path("data/raw")


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


def gaps() -> Any:
    return params.load_yaml("params.yaml")["prepare"]["gaps"]


def collect(live: Path, config: RetrainParams) -> Rows:
    """The table in live/data/ grows; gives the forecasts by which it did.

    Raises Refused where nothing has come.
    """
    data, meta = live / "data", params.read_json(RAW / "meta.json")
    version = lineage.current(live) or str(provenance.collect()["model_version"])
    rows = usable(joining.Joined(live / "monitor.db").newest(config.rows), version)
    if not rows:
        raise retraining.Refused(f"no truth has come for a series that {version} was trained on")
    new, path = come(rows, meta["covariates"]), data / "come.parquet"
    if path.exists():
        new = pd.concat([pd.read_parquet(path), new]).drop_duplicates(KEY, keep="last")
    raw = pd.read_parquet(RAW / "series.parquet")
    raw = raw[raw["problem"] == ""].drop(columns="problem")
    known = newest(lineage.serving(live))
    if gaps() == "zero":
        raw = with_zeros(raw, known, meta["frequency"], meta["covariates"])
    table = together(raw, known, new)
    for name, rows_of in {"come.parquet": new, "series.parquet": table}.items():
        with params.atomic(data / name) as draft:
            rows_of.to_parquet(draft, index=False)
    retraining.audit("data_appended", live, rows=len(rows), data=retraining.version(data))
    return rows


def tested(rows: Rows, config: RetrainParams) -> int:
    """Steps that are not learnt: at most half of what has come to the median series.

    With more the challenger would end before what the champion knew. Raises Refused where there is
    nothing to halve.
    """
    came = int(np.median([monitor.arrived(row)[0][-1] + 1 for row in rows]))
    if came < 2:
        raise retraining.Refused(
            f"{came} step has come to the median series: two are needed, one to learn and one to "
            "compare on; give more truths to /feedback"
        )
    return min(config.held_out, came // 2)


def losses(rows: Rows, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scaled errors of challenger and champion, [series] each, over the steps not learnt by either.

    The challenger's forecasts are those its export was checked against. Where it ends before what
    the champion knew, the series does not count: it would look farther ahead.
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
        if times[0] < pd.Timestamp(row["timestamps"][0]):
            continue
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


def changes(live: Path, held_out: int) -> dict[str, Any]:
    """Parameters of this run.

    The kind of model stays what people had chosen: a backtest across a shift chooses by chance.
    Where no row means no demand, `collect` has written the zeros: a later step without a row is
    one whose truth has not come.
    """
    source = str((live / "data/series.parquet").resolve())
    found = {"ingest.source": source, "ingest.limit": None, "prepare.held_out": held_out}
    if gaps() == "zero":
        found["prepare.gaps"] = "interpolate"
    chosen = params.read_json(lineage.serving(live) / "model.json")["chosen"]
    return found | ({} if chosen == "per series" else {"train.candidates": [chosen]})


def main() -> None:
    asked, config = retraining.arguments(__doc__), params.read("retrain", RetrainParams)
    rows = collect(asked.live, config)
    held_out = tested(rows, config)
    work = retraining.workspace(asked.live)
    retraining.configure(work, changes(asked.live, held_out))
    retraining.reproduce(work)
    comparison = releasing.compare(*losses(rows, work), seed=0)
    retraining.finish(asked, work, comparison)


if __name__ == "__main__":
    main()
