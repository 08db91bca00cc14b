"""Reading a JSON schema: what its references mean, and which types a part of it allows."""

from typing import Any

Json = dict[str, Any]


def resolve(part: Any, schema: Json, steps: int = 20) -> Json:
    """The subschema itself, or what its `$ref` inside the same schema points to.

    Of "X or null" it is X, which then may be null. Raises ValueError for a `$ref` to nowhere.
    """
    for step in range(steps):
        if not isinstance(part, dict):  # true: anything
            return {}
        if "$ref" not in part:
            return _optional(part, schema, steps - step - 1)
        part = _target(part["$ref"], schema)
    raise ValueError("a $ref goes in a circle")


def _target(reference: str, schema: Json) -> Any:
    start, *steps = reference.split("/")
    found: Any = schema if start == "#" else None
    try:
        for step in steps:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found[int(step)] if isinstance(found, list) else found[step]
    except (LookupError, TypeError, ValueError):
        found = None
    if not isinstance(found, dict | bool):
        raise ValueError(f"$ref {reference} leads to nothing in the same schema")
    return found


def _optional(part: Json, schema: Json, steps: int) -> Json:
    for key in ("anyOf", "oneOf"):
        branches = [resolve(inner, schema, steps) for inner in part.get(key, [])]
        given = [inner for inner in branches if types(inner) != {"null"}]
        if len(given) == 1 < len(branches):
            found = given[0] | {"type": [*sorted(types(given[0])), "null"]}
            return found | ({"enum": [*found["enum"], None]} if "enum" in found else {})
    return part


def references(part: Any) -> list[str]:
    """Every `$ref` in a schema."""
    if isinstance(part, list):
        return [found for inner in part for found in references(inner)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + references(list(part.values()))


def types(part: Any) -> set[str]:
    """The JSON types that a subschema allows."""
    if isinstance(part, bool):
        return set()
    given = part.get("type", [])
    found = {given} if isinstance(given, str) else set(given)
    for inner in [*part.get("anyOf", []), *part.get("oneOf", [])]:
        found |= types(inner)
    if None in part.get("enum", [part.get("const", 0)]):
        found.add("null")
    return found


def is_text(part: Json) -> bool:
    """Free text: scored by its words, not only by being equal."""
    fixed = {"enum", "const", "format", "pattern"}
    return "string" in types(part) and not fixed & part.keys()


def nullable(part: Json) -> bool:
    """May the answer be `null`: not stated?"""
    return "null" in types(part)
