"""Corrected records as examples to learn from, beside the former ones: what goes into which split.

Texts that tell of the same incident share a split, and keep it from one retraining to the next, so
that nothing is tested that was learnt in other words.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import checks
import masking
import pandas as pd
from findings import masked_record, reasons
from pydantic import Field, PositiveFloat, PositiveInt
from records import Json, plain

from shared import params

SPLITS = ("train", "validation", "test")
Rows = list[Json]


class RetrainParams(params.Params):
    rows: PositiveInt
    held_back: PositiveInt
    validation_share: float = Field(gt=0, lt=1)
    same_record: bool
    epochs: PositiveInt
    learning_rate: PositiveFloat
    gate_without: tuple[str, ...]


def read(path: Path) -> Rows:
    """The rows of a file of JSON lines; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def write(path: Path, rows: Iterable[Json], keys: tuple[str, ...]) -> None:
    """These keys of the rows as JSON lines, in ASCII: no U+2028 looks like an end."""
    with params.atomic(path) as draft:
        lines = (json.dumps({key: row[key] for key in keys}) + "\n" for row in rows)
        draft.write_text("".join(lines), encoding="utf-8")


def former() -> Rows:
    """The examples that the blueprint's own model was made of, with the split each was in."""
    table = pd.read_parquet("data/prepared/examples.parquet")
    splits = dict(zip(table["id"], table["split"], strict=True))
    rows = read(Path("data/checked.jsonl"))
    return [row | {"split": splits[row["id"]], "live": False, "new": False} for row in rows]


def usable(logged: Iterable[Json], schema: Json, tokenizer: Any, mask: bool, limit: int) -> Rows:
    """Texts and corrected records of the request log, without what could not be learnt.

    mask: take personal data out of texts and records, as `validate` does. limit: tokens of an
    answer.
    """
    rows = [
        {
            "input": masking.masked(row["text"]) if mask else row["text"],
            "output": masked_record(row["truth"], schema, schema) if mask else row["truth"],
        }
        | {"problem": "", "split": "", "group": "", "live": True, "new": True}
        for row in logged
        if "text" in row
    ]
    why = reasons(rows, schema, tokenizer, limit)
    return [row for row, reason in zip(rows, why, strict=True) if not reason]


def latest(old: Rows, kept: Rows, new: Rows) -> Rows:
    """Each text once, newest last, with the record that was said last and the split it had: its own
    from an earlier retraining, else that of the same text before, unless it was only tested."""
    found: dict[str, Json] = {}
    for row in [*old, *kept, *new]:
        text = " ".join(row["input"].split())
        if before := found.pop(text, None):
            learnt = before["live"] or before["split"] != "test"
            split = row["split"] or (before["split"] if learnt else "")
            row = row | {"group": before["group"], "split": split}
        found[text] = row
    return list(found.values())


def ties(rows: Rows, similarity: float, same_record: bool) -> list[int]:
    """[n] the same number for texts of the same incident: near duplicates, the same group or, with
    `same_record`, the same record."""
    pairs, first = checks.near_twins([row["input"] for row in rows], similarity), {}
    for i, row in enumerate(rows):
        keys = [f"group {row['group']}"] * bool(row["group"])
        keys += [f"record {plain(row['output'])}"] * same_record
        pairs += [(first.setdefault(key, i), i, 1.0) for key in keys]
    return checks.clusters(len(rows), pairs)


def together(rows: Rows, similarity: float, config: RetrainParams) -> Rows:
    """The rows with a split for each, and the number of their incident under `report`.

    Incidents that only came live, or were only tested before, are drawn by the hash of their first
    text: `held_back` new ones are for the test, of the others a share for validation. Former test
    texts of an incident that is now learnt are left out.
    """
    numbers = ties(rows, similarity, config.same_record)
    reports: dict[int, Rows] = {}
    for number, row in zip(numbers, rows, strict=True):
        reports.setdefault(number, []).append(row | {"report": number})
    for report, split in decided(list(reports.values()), config):
        for row in report:
            row["was"], row["split"] = row["split"], split
    found = [row for report in reports.values() for row in report]
    learnt = [not row["live"] and row.get("was") == "test" != row["split"] for row in found]
    return [row for row, out in zip(found, learnt, strict=True) if not out]


def decided(reports: list[Rows], config: RetrainParams) -> Iterator[tuple[Rows, str]]:
    """The incidents that came live, with the split for all their rows."""
    drawn, held_back = [], 0
    for report in (report for report in reports if any(row["live"] for row in report)):
        seen = {row["split"] for row in report if row["live"] or row["split"] != "test"}
        split = next((name for name in SPLITS if name in seen), "")
        held_back += split == "test" and any(row["new"] for row in report)
        if split:
            yield report, split
        else:
            drawn.append(report)
    drawn.sort(key=lambda report: min(digest(row["input"]) for row in report))
    tested = max(0, config.held_back - held_back)
    validated = round(config.validation_share * max(0, len(drawn) - tested))
    for i, report in enumerate(drawn):
        yield report, "test" if i < tested else SPLITS[i < tested + validated]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def examples(rows: Rows) -> Rows:
    """What the pipeline reads: of a tested incident that came live only the newest live text, for
    each is asked several times; all others whole."""
    newest = {row["report"]: i for i, row in enumerate(rows) if row["live"]}
    return [
        row
        for i, row in enumerate(rows)
        if not (row["live"] and row["split"] == "test") or newest[row["report"]] == i
    ]
