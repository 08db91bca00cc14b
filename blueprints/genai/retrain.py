"""Retraining: corrected records join the examples, the adapter learns on, the better model serves.

python retrain.py --key-result KR4      what an alert or a timer starts (shared/actions.py)

Texts come from the request log, so `service.log_inputs` must be on, or nothing can be learnt.
"""

from pathlib import Path
from typing import Any

import base
import corrected
import numpy as np
import pandas as pd
from corrected import RetrainParams, Rows
from predictor import Predictor
from records import Json, fields, same, value

from shared import comparing, joining, params, releasing, retraining
from shared.guards import BadInput

KEPT = ("input", "output", "split")


def collect(live: Path, config: RetrainParams) -> Rows:
    """Corrected records -> live/data/, with all before them; gives all examples with their split.

    Raises Refused where too little came to tell two models apart.
    """
    values, data = params.load_yaml("params.yaml"), live / "data"
    schema = params.read_json("data/raw/schema.json")
    tokenizer = base.tokenizer(base.folder(params.read("model", base.ModelParams)))
    logged = joining.Joined(live / "monitor.db").newest(config.rows)
    mask = values["validate"]["personal_data"] == "mask"
    limit = values["evaluate"]["max_answer_tokens"]
    new = corrected.usable(logged, schema, tokenizer, mask, limit)
    if not new:
        raise retraining.Refused("no corrected text in the log; is service.log_inputs on?")
    rest = {"group": "", "live": True, "new": False}
    kept = [row | rest for row in corrected.read(data / "corrected.jsonl")]
    rows = corrected.latest(corrected.former(), kept, new)
    rows = corrected.together(rows, values["validate"]["near_duplicate"], config)
    if (number := len({row["report"] for row in recent(rows)})) < comparing.LEAST_RECORDS:
        raise retraining.Refused(f"{number} new reports are held back, too few for a comparison")
    corrected.write(data / "corrected.jsonl", (row for row in rows if row["live"]), KEPT)
    corrected.write(data / "examples.jsonl", corrected.examples(rows), (*KEPT, "group"))
    added = {"rows": len(new), "data": retraining.version(data)}
    retraining.audit("data_appended", live, **added)
    return rows


def recent(rows: Rows) -> Rows:
    """What came since and neither model has learnt."""
    return [row for row in rows if row["new"] and row["split"] == "test"]


def changes(live: Path, config: RetrainParams) -> dict[str, Any]:
    """Parameters of this run; paths hold in the workspace too."""
    schema = params.load_yaml("params.yaml")["ingest"]["schema"]
    place = base.folder(params.read("model", base.ModelParams))
    return {
        "ingest.source": str((live / "data/examples.jsonl").resolve()),
        "ingest.schema": str(Path(schema).expanduser().resolve()),
        "ingest.limit": None,
        "model.base": str(place.resolve()),
        "train.adapter": str(Path("models/adapter").resolve()),
        "train.epochs": config.epochs,
        "train.learning_rate": config.learning_rate,
    }


def losses(predictor: Predictor, rows: Rows) -> np.ndarray:
    """[reports] share of wrong fields, mean over the texts of each report."""
    table = pd.DataFrame({"report": [row["report"] for row in rows]})
    table["wrong"] = [wrong(predictor, row) for row in rows]
    return table.groupby("report")["wrong"].mean().to_numpy()


def wrong(predictor: Predictor, row: Json) -> float:
    """The share of fields that differ from the corrected record's; all, where there is none."""
    try:
        record = predictor.answer(row["input"]).record
    except BadInput:
        return 1.0
    pairs = ((value(record, name), value(row["output"], name)) for name in fields(predictor.schema))
    return 1 - float(np.mean([same(one, other) for one, other in pairs]))


def main() -> None:
    asked, config = retraining.arguments(__doc__), params.read("retrain", RetrainParams)
    rows = collect(asked.live, config)
    work = retraining.workspace(asked.live)
    retraining.ease(work, config.gate_without)
    retraining.configure(work, changes(asked.live, config))
    retraining.reproduce(work)
    models = [Predictor(folder / "export") for folder in (work,)]
    models.append(Predictor(releasing.serving(asked.live)))
    comparison = releasing.compare(*[losses(model, recent(rows)) for model in models], seed=0)
    retraining.finish(asked, work, comparison)


if __name__ == "__main__":
    main()
