"""Records and their schema, without a library: fields, one way of writing, limits of decoding."""

import copy
import json
from collections import Counter
from decimal import Decimal
from typing import Any

from schemas import Json, resolve, types

# How a record is written, in training and in answers: like json.dumps, without choices of space.
WRITTEN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
LONGEST_TEXT, MOST_ITEMS, LARGEST_NUMBER = 200, 20, 10**15
SMALLEST_STEP, DIGITS = 1e-9, 9
NAMED = {"properties", "patternProperties", "$defs", "definitions"}  # hold schemas by name
JOINED = {"anyOf", "oneOf", "patternProperties"}  # may allow more properties


def fields(schema: Json, part: Json | None = None, prefix: str = "") -> dict[str, Json]:
    """Dotted name -> subschema of everything that is scored; objects are opened, arrays are not.

    Raises ValueError where a name has a dot itself, or objects hold each other without an end.
    """
    found: dict[str, Json] = {}
    if prefix.count(".") > 20:
        raise ValueError(f"{prefix[:30]}... goes in a circle")
    for name, inner in resolve(part or schema, schema).get("properties", {}).items():
        inner = resolve(inner, schema)
        if "." in name or not name:
            raise ValueError(f"property {prefix + name!r}: a name has no dot and is not empty")
        if inner.get("properties"):
            found |= fields(schema, inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = inner
    return found


def value(record: Any, name: str) -> Any:
    """What a record has under a dotted name; None where it has nothing."""
    for step in name.split("."):
        record = record.get(step) if isinstance(record, dict) else None
    return record


def ordered(record: Any, part: Json, schema: Json) -> Any:
    """The same record with its keys in the order of the schema, which is that of decoding."""
    part = resolve(part, schema)
    if isinstance(record, list):
        return [ordered(item, part.get("items", {}), schema) for item in record]
    if isinstance(record, dict):
        known = dict(part.get("properties", {}))
        for inner in [*part.get("allOf", []), *part.get("anyOf", []), *part.get("oneOf", [])]:
            known |= resolve(inner, schema).get("properties", {})
        names = [name for name in known if name in record]
        names += [name for name in record if name not in known]
        return {name: ordered(record[name], known.get(name, {}), schema) for name in names}
    return decodable(record, part) if isinstance(record, float) else record


def decodable(number: float, part: Json) -> float:
    """A number as decoding can say it: 5 for 5.0, and no digits beyond SMALLEST_STEP."""
    if "number" in types(part) and not {"enum", "const", "multipleOf"} & part.keys():
        number = round(number, DIGITS)
    return int(number) if number.is_integer() else number


def write(record: Any, schema: Json) -> str:
    """The one text of a record: keys as in the schema, ", " and ": " between, few escapes."""
    return _text(ordered(record, schema, schema)).replace("\x7f", "\\u007f")  # as decoding has to


def _text(found: Any) -> str:
    if isinstance(found, dict):
        return "{" + ", ".join(f"{_text(key)}: {_text(found[key])}" for key in found) + "}"
    if isinstance(found, list):
        return "[" + ", ".join(map(_text, found)) + "]"
    text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    return format(Decimal(text), "f") if isinstance(found, float) else text  # 1e-07 is not decoded


def same(one: Any, other: Any) -> bool:
    """Equal values; the order of a list and space around text do not matter."""
    return plain(one) == plain(other)


def plain(found: Any) -> str:
    """A text that values have in common if, and only if, they are the same."""
    if isinstance(found, dict):
        return json.dumps({key: plain(item) for key, item in found.items()}, sort_keys=True)
    if isinstance(found, list):
        return json.dumps(sorted(plain(item) for item in found))
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return json.dumps(" ".join(found.split()) if isinstance(found, str) else found)


def overlap(one: str, other: str) -> float:
    """F1 of the words of two texts, from 0 to 1."""
    left, right = Counter(one.lower().split()), Counter(other.lower().split())
    common = sum((left & right).values())
    return 2 * common / (left.total() + right.total()) if left or right else 1.0


def guidance(schema: Json) -> Json:
    """The schema for decoding: what it leaves unbounded gets an end, so that every answer closes.

    Text without maxLength ends after LONGEST_TEXT characters, lists after MOST_ITEMS items, and
    objects have the properties that are named, unless the schema allows others itself.
    Raises ValueError for what is no schema at all.
    """
    try:
        limited = copy.deepcopy(schema)
        _limit(limited, closed='"allOf"' not in json.dumps(schema))
    except (AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"no JSON schema: {error}") from None
    return limited | {"x-guidance": WRITTEN}


def _limit(part: Any, closed: bool) -> None:
    if isinstance(part, list):
        for inner in part:
            _limit(inner, closed)
    if not isinstance(part, dict):
        return
    allowed, fixed = types(part), {"enum", "const"} & part.keys()
    if "string" in allowed and not fixed:
        part.setdefault("maxLength", max(LONGEST_TEXT, part.get("minLength", 0)))
    if "array" in allowed:
        part.setdefault("maxItems", max(MOST_ITEMS, part.get("minItems", 0)))
    if closed and "object" in allowed and "properties" in part and not JOINED & part.keys():
        part.setdefault("additionalProperties", False)
    if allowed & {"integer", "number"} and not fixed:
        _bound(part, allowed)
    for key, inner in part.items():
        if key in NAMED:
            _limit(list(inner.values()), closed)
        elif key not in ("enum", "const", "default", "examples", "required"):
            _limit(inner, closed)


def _bound(part: Json, allowed: set[str]) -> None:
    if "number" in allowed:
        part.setdefault("multipleOf", SMALLEST_STEP)  # or a fraction would have no last digit
    least = max(part.get("minimum", 0), part.get("exclusiveMinimum", 0))
    most = min(part.get("maximum", 0), part.get("exclusiveMaximum", 0))
    if not {"minimum", "exclusiveMinimum"} & part.keys():
        part["minimum"] = min(-LARGEST_NUMBER, 10 * most)
    if not {"maximum", "exclusiveMaximum"} & part.keys():
        part["maximum"] = max(LARGEST_NUMBER, 10 * least)
