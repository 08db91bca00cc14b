"""How good are records: fields, whole records, words of free text, refusals, confidence."""

import json
import math
from typing import Any

import numpy as np
from records import Json, fields, overlap, same, value
from schemas import is_text, nullable
from validators import validator

Array = np.ndarray


def parsed(text: str) -> Any:
    """The JSON in an answer; None where there is none."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is no JSON")
    return number


def hits(answers: list[Any], truths: list[Json], schema: Json) -> dict[str, Array]:
    """Field -> [n] is the answer the true one? What is no record agrees with none."""
    pairs = list(zip(answers, truths, strict=True))
    if not pairs:
        raise ValueError("no answers to score")
    return {
        name: np.array([_right(one, true, name) for one, true in pairs]) for name in fields(schema)
    }


def _right(answer: Any, truth: Any, name: str) -> bool:
    records = isinstance(answer, dict) and isinstance(truth, dict)
    return records and same(value(answer, name), value(truth, name))


def score(answers: list[Any], truths: list[Json], schema: Json) -> Json:
    """Scores of parsed answers against the truths; `exact_match` is the mean over the fields."""
    found = hits(answers, truths, schema)
    exact = {name: float(hit.mean()) for name, hit in found.items()}
    judge = validator(schema)
    scores: Json = {
        "exact_match": float(np.mean(list(exact.values()))),
        "record_exact_match": float(np.mean(np.all(list(found.values()), axis=0))),
        "valid_json": float(np.mean([judge.is_valid(answer) for answer in answers])),
        "field_exact_match": exact,
    }
    texts = {
        name: float(np.mean([_words(a, t, name) for a, t in zip(answers, truths, strict=True)]))
        for name, part in fields(schema).items()
        if is_text(part)
    }
    scores |= {"token_f1": texts} if texts else {}
    return scores | {"refusals": refusals(answers, truths, schema)}


def _words(answer: Any, truth: Json, name: str) -> float:
    one, other = value(answer, name), value(truth, name)
    if one is None or other is None:
        return float(_right(answer, truth, name))
    return overlap(str(one), str(other))


def refusals(answers: list[Any], truths: list[Json], schema: Json) -> dict[str, float]:
    """Of `null`, over all fields that allow it: how often said, how often right, how many found."""
    said, true = [], []
    for name, part in fields(schema).items():
        if nullable(part):
            said += [isinstance(one, dict) and value(one, name) is None for one in answers]
            true += [value(truth, name) is None for truth in truths]
    if not said:
        return {}
    both = np.logical_and(said, true).sum()
    found = {"share": float(np.mean(said)), "true_share": float(np.mean(true))}
    found |= {"precision": float(both / sum(said))} if any(said) else {}
    return found | ({"recall": float(both / sum(true))} if any(true) else {})


def calibration(confidence: Array, right: Array, bins: int) -> float:
    """Expected calibration error: mean distance of confidence and share of right records.

    confidence, right: [n].
    """
    gaps = [abs((confidence - right)[part].sum()) for part in binned(confidence, bins)]
    return float(sum(gaps) / len(confidence))


def binned(confidence: Array, bins: int) -> list[Array]:
    """Positions of the records in each bin, from unsure to sure.

    Bins hold equally many records, but the equally sure share one.
    """
    place = np.searchsorted(np.sort(confidence), confidence)  # of the first that is as sure
    parts = np.array_split(np.arange(len(place)), min(bins, len(place)))
    inside = np.searchsorted([part[0] for part in parts], place, side="right")
    return [np.flatnonzero(inside == one) for one in np.unique(inside)]


def interval(values: Array, seed: int, draws: int = 1000) -> list[float]:
    """95 % bootstrap interval of the mean of [n] values."""
    generator = np.random.default_rng(seed)
    means = [generator.choice(values, len(values)).mean() for _ in range(draws)]
    return [float(x) for x in np.quantile(means, [0.025, 0.975])]
