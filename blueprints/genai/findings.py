"""What `validate` leaves out: unusable, copied, contradicting; and how its report shows it."""

from typing import Any

import jsonschema
import masking
import numpy as np
from guided import Guide
from prompts import clean
from records import Json, plain, write
from schemas import resolve
from validators import validator

FIRST_WORDS = 80  # characters of a text that a finding shows


def reasons(rows: list[Json], schema: Json, tokenizer: Any, limit: int) -> list[str]:
    """For each example why it cannot be learnt from; empty if it can.

    tokenizer: None where decoding cannot be guided by the schema, so that nothing can be decoded.
    limit: evaluate.max_answer_tokens.
    """
    judge = validator(schema, formats=True)
    found = [unusable(row, judge) for row in rows]
    if tokenizer is None:
        return found
    guide = Guide(tokenizer, schema)
    (first,) = guide.matchers(1)  # it only looks, so that one is enough
    sizes: dict[int, int] = {}
    for i, row in enumerate(rows):
        if not found[i]:
            ids = written(row, schema, tokenizer)
            found[i], sizes[i] = undecodable(ids, guide, first), len(ids)
    longest = max((size for i, size in sizes.items() if not found[i]), default=0)
    return [why or too_long(sizes[i], longest, limit) for i, why in enumerate(found)]


def unusable(row: Json, judge: Any) -> str:
    """Why an example is none; empty if it is one."""
    if row["problem"]:
        return str(row["problem"])
    if not clean(row["input"], []):
        return "input is empty"
    return schema_problem(row["output"], judge)


def schema_problem(output: Json, judge: Any) -> str:
    """The first way in which a record breaks the schema; empty if it keeps it."""
    error = jsonschema.exceptions.best_match(judge.iter_errors(output))
    if error is None:
        return ""
    where, why = ".".join(map(str, error.absolute_path)) or "the record", error.message
    return f"{where}: {why if len(why) <= 120 else why[:40] + '...' + why[-77:]}"


def written(row: Json, schema: Json, tokenizer: Any) -> list[int]:
    """The tokens of an example's record, without the one that ends an answer."""
    text = write(row["output"], schema)
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def undecodable(ids: list[int], guide: Guide, matcher: Any) -> str:
    """Where decoding could never follow a record, since it ends what the schema leaves open."""
    said = matcher.validate_tokens([*ids, guide.end])
    if said > len(ids):
        return ""
    told = guide.tokenizer.decode(ids[:said])[-40:]
    return f"decoding has to end after {told!r}; give the schema maxLength, maxItems or maximum"


def too_long(size: int, longest: int, limit: int) -> str:
    """Why no answer could be a record of so many tokens; empty if one could."""
    if size <= limit:
        return ""
    why = f"its record has {size} tokens, and evaluate.max_answer_tokens is {limit}"
    return f"{why}; set it to {longest} at least, for the longest record"


def masked_record(record: Any, part: Any, schema: Json) -> Any:
    """A record with its texts masked; what the schema gives to choose from stays."""
    part = resolve(part, schema)
    if isinstance(record, dict):
        known = part.get("properties", {})
        return {key: masked_record(one, known.get(key), schema) for key, one in record.items()}
    if isinstance(record, list):
        return [masked_record(one, part.get("items"), schema) for one in record]
    free = isinstance(record, str) and not {"enum", "const"} & part.keys()
    return masking.masked(record) if free else record


def without_copies(rows: list[Json]) -> tuple[list[Json], list[Json], list[Json]]:
    """Each text once; the copies left out; texts that come with different records, all left out."""
    records: dict[str, set[str]] = {}
    for row in rows:
        records.setdefault(" ".join(row["input"].split()), set()).add(plain(row["output"]))
    kept, copies, conflicts, seen = [], [], [], set()
    for row in rows:
        text = " ".join(row["input"].split())
        if len(records[text]) > 1:
            conflicts.append(row)
        elif text in seen:
            copies.append(row)
        else:
            kept.append(row)
        seen.add(text)
    return kept, copies, conflicts


def shown(rows: list[Json], reasons: list[str], number: int) -> list[Json]:
    """The first of these rows for the report."""
    pairs = list(zip(rows, reasons, strict=True))[:number]
    return [{"id": row["id"], "text": row["input"][:FIRST_WORDS], "why": why} for row, why in pairs]


def quantiles(values: list[int]) -> list[float]:
    return [float(x) for x in np.quantile(values, [0.05, 0.5, 0.95, 1])]
