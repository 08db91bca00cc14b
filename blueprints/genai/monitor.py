"""What drift, quality and performance mean for records from texts: live metrics, their profile."""

import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from records import Json, fields, value
from schemas import resolve, types

# name -> what it is; computed from the request log and the corrections that arrive later
LIVE_METRICS = {
    "live.exact_match": "mean share of fields that a correction left as they were",
    "live.correction_share": "share of records with feedback in which a field was corrected",
    "live.refusal_share": "share of fields answered with null, where null is allowed",
    "live.input_drift": "largest population stability index of the features below, as served",
    "live.field_drift": "largest distance of a field's answers from those of the training records",
    "live.cut_share": "share of texts that were longer than the model may read",
}
COMMON = ".,;:()'\"-/%$&?!"
FEATURES = ("tokens", "characters_per_token", "odd_share")


def features(text: str, tokens: list[int]) -> dict[str, float]:
    """What is kept of a text instead of it: length, how well the tokenizer knows its words, and
    the share of characters that are neither letters of any script, digits, space nor common
    punctuation."""
    odd = sum(not (c.isalnum() or c.isspace() or c in COMMON or _mark(c)) for c in text)
    size = max(len(text), 1)
    per_token = size / max(len(tokens), 1)
    return {"tokens": len(tokens), "characters_per_token": per_token, "odd_share": odd / size}


def _mark(character: str) -> bool:
    """A part of a letter, such as the vowels of Hindi or an accent of its own."""
    return unicodedata.category(character).startswith("M")


def kinds(record: Any, schema: Json) -> dict[str, list[str]]:
    """Field -> what its answer is among: `null`, the values of a list or a choice, or `given`.

    Numbers and free text are not kept, so that the request log has nothing personal.
    """
    found = {}
    for name, part in fields(schema).items():
        choices = part.get("enum") or resolve(part.get("items", {}), schema).get("enum") or []
        if types(part) - {"null"} == {"boolean"}:
            choices = [True, False]
        found[name] = _kind(value(record, name), choices)
    return found


def _kind(found: Any, choices: list[Any]) -> list[str]:
    if found is None:
        return ["null"]
    items = found if isinstance(found, list) and choices else [found]
    return sorted({str(item)[:60] if item in choices else "given" for item in items})


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
        profile[name] = {"edges": edges.tolist(), "shares": shares.tolist()}
    answers = answer_mix(outputs, schema)
    return {"live_metrics": LIVE_METRICS, "profile": profile, "answers": answers}
