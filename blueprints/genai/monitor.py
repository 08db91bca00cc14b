"""What drift, quality and performance mean for records from texts, and the process that watches.

python monitor.py                        what the log has now -> live/report.html, live/values.json
python monitor.py --every 60 --port 9464 for ever, with /metrics for Prometheus

What the log keeps for it says traces.py; corrected records lie in the feedback log as they came.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from records import Json, fields
from schemas import nullable
from traces import FEATURES, kinds, tag
from traces import kept as kept  # for the service, which imports this file

from shared import drift, requestids
from shared.drift import Estimate

Rows = list[Json]
# name -> what it is; computed from the request log and the corrections that arrive later
LIVE_METRICS = {
    "live.exact_match": "mean share of fields that a correction left as they were",
    "live.correction_share": "share of records with feedback in which a field was corrected",
    "live.refusal_share": "share of fields answered with null, where null is allowed",
    "live.input_drift": "largest population stability index of length, characters per token and "
    "share of odd characters against the training profile, beyond chance",
    "live.field_drift": "the same of the kinds of a field's answers, against the training records",
    "live.cut_share": "share of texts that were longer than the model may read",
}


def answer_mix(outputs: list[Json], schema: Json) -> dict[str, dict[str, float]]:
    """Field -> share of records with each kind of answer."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in fields(schema)}
    for output in outputs:
        for name, answers in kinds(output, schema).items():
            counts[name].update(answers)
    return {
        name: {key: number / len(outputs) for key, number in sorted(found.items())}
        for name, found in counts.items()
    }


def reference(
    train: Mapping[str, Any], outputs: list[Json], schema: Json, bins: int = 10
) -> dict[str, Any]:
    """The profile of the training texts: per feature the inner edges of its deciles and the share
    of texts in each bin; per field the mix of answers. train: FEATURES, each [n]."""
    profile = {}
    for name in FEATURES:
        values = np.asarray(train[name], float)
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        inside = np.searchsorted(edges, values, side="right")
        shares = np.bincount(inside, minlength=len(edges) + 1) / len(values)
        profile[name] = {"edges": edges.tolist(), "shares": shares.tolist(), "rows": len(values)}
    found = {"profile": profile, "answers": answer_mix(outputs, schema), "examples": len(outputs)}
    return {"live_metrics": LIVE_METRICS, **found}


def measure(rows: Rows, usual: Json, model: Json) -> dict[str, Estimate]:
    """Metrics of a window of requests. usual: reports/reference.json; model: model.json."""
    rows = drift.distinct(rows, *FEATURES, "confidence")
    columns = {name: [row[name] for row in rows] for name in FEATURES}
    empty = [name for name, part in fields(model["schema"]).items() if nullable(part)]
    return {
        "live.input_drift": drift.input_drift(columns, usual["profile"]),
        "live.field_drift": field_drift([row["answers"] for row in rows], usual),
        "live.refusal_share": drift.share(
            row["answers"][name] == ["null"] for row in rows for name in empty
        ),
        "live.cut_share": drift.share(row["cut"] for row in rows),
    }


def field_drift(answers: list[dict[str, list[str]]], usual: Json) -> Estimate:
    """The largest population stability index of the kinds of a field's answers, beyond chance."""
    found = []
    for name, shares in usual["answers"].items():
        counts = Counter(kind for row in answers for kind in row[name])
        found.append(drift.mix_drift(counts, shares, usual["examples"]))
    return Estimate(drift.largest(found))


def judge(rows: Rows, secret: bytes) -> dict[str, Estimate]:
    """Metrics of a window of requests whose corrected record, the `truth`, has arrived.

    secret: what the service signs ids with; what was answered under another cannot be judged.
    """
    ours = [row for row in rows if "tags" in row and requestids.is_ours(row["id"], secret)]
    if not ours:
        print("monitor: SERVICE_SECRET or the logs are not this service's", file=sys.stderr)
    kept = [
        [found == tag(row["truth"], name, row["id"], secret) for name, found in row["tags"].items()]
        for row in drift.distinct(ours, *FEATURES, "confidence")
    ]
    return {
        "live.exact_match": drift.mean(float(np.mean(record)) for record in kept),
        "live.correction_share": drift.share(not all(record) for record in kept),
    }


def doubt(row: Json) -> float:
    """How much a person's correction would tell: 1 where the model did not believe its record."""
    return 1 - (row["confidence"] or 0.0)


def main() -> None:
    from shared import monitoring  # the service imports this file too, and needs none of it

    with monitoring.watch(__doc__, truth=dict[str, Any]) as watch:
        secret = requestids.signing_secret(watch.logs)
        for windows in watch.runs():
            for window in windows:
                if window.labelled:
                    watch.record(window, judge(window.rows, secret))
                else:
                    watch.record(window, measure(window.rows, *watch.files(window.model)))
            watch.queue(doubt)


if __name__ == "__main__":
    main()
