"""What the request log keeps of a text and of its record, instead of them.

Of a record: which fields were given, which choices were made, and a tag for each field. With the
service's secret a tag tells whether a corrected record says the same; without it, nothing.
"""

import hmac
import unicodedata
from typing import Any

from records import Json, fields, plain, value
from schemas import resolve, types

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


def kept(record: Any, schema: Json, request_id: str, secret: bytes) -> Json:
    """What the request log keeps of a record."""
    found = {"answers": kinds(record, schema)}
    return found | {"tags": tags(record, schema, request_id, secret)}


def kinds(record: Any, schema: Json) -> dict[str, list[str]]:
    """Field -> what its answer is among: `null`, values of a list or a choice, `empty`, `given`.

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
    kinds = sorted({str(item)[:60] if item in choices else "given" for item in items})
    return kinds or ["empty"]


def tags(record: Any, schema: Json, request_id: str, secret: bytes) -> dict[str, str]:
    """Field -> what is the same for the same value of the same request, and says nothing of it."""
    return {name: tag(record, name, request_id, secret) for name in fields(schema)}


def tag(record: Any, name: str, request_id: str, secret: bytes) -> str:
    said = f"{request_id} {name} {plain(value(record, name))}"
    return hmac.new(secret, said.encode("utf-8", "replace"), "sha256").hexdigest()[:16]
