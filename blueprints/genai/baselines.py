"""A baseline without learning: the first regular expression that matches gives a field's value."""

import json
import re
from collections import Counter
from typing import Any, NamedTuple

from pydantic import Field
from records import Json, fields, value
from schemas import types

from shared import params


class Rule(params.Params):
    """`pattern` in a text means `value` in `field`; "$1" is what the first group matched."""

    field: str
    pattern: str = Field(min_length=1)
    value: Any


class Compiled(NamedTuple):
    """A rule, ready to be looked for."""

    rule: Rule
    pattern: re.Pattern[str]
    text: bool  # may the field be a text? Else "1,874" is a number


def compiled(rules: tuple[Rule, ...], schema: Json) -> list[Compiled]:
    """SystemExit names a rule whose field or pattern is wrong."""
    found = []
    for number, rule in enumerate(rules):
        where = f"params.yaml: evaluate.rules.{number}"
        if rule.field not in fields(schema):
            raise SystemExit(f"{where}: {rule.field} is none of {', '.join(fields(schema))}")
        try:
            pattern = re.compile(rule.pattern, re.IGNORECASE)
        except (re.error, OverflowError, RecursionError) as error:
            raise SystemExit(f"{where}: {rule.pattern!r} is no pattern: {error}") from None
        if rule.value == "$1" and not pattern.groups:
            raise SystemExit(f"{where}: {rule.pattern!r} has no group for $1")
        found.append(Compiled(rule, pattern, "string" in types(fields(schema)[rule.field])))
    return found


def record(text: str, rules: list[Compiled], usual: Json) -> Json:
    """What the rules find in a text; a field without a match gets its usual value."""
    found: Json = json.loads(json.dumps(usual))
    done: set[str] = set()
    for rule, pattern, is_text in rules:
        match = None if rule.field in done else pattern.search(text)
        if match and (rule.value != "$1" or match[1] is not None):
            done.add(rule.field)
            given = _filled(match[1], is_text) if rule.value == "$1" else rule.value
            _put(found, rule.field, given)
    return found


def usual(outputs: list[Json], schema: Json, rules: tuple[Rule, ...]) -> Json:
    """The commonest answer of each field in training; null for those that rules look for."""
    ruled = {rule.field for rule in rules if rule.value == "$1"}
    found: Json = {}
    for name, part in fields(schema).items():
        counts = Counter(json.dumps(value(output, name)) for output in outputs)
        common = json.loads(max(sorted(counts), key=counts.__getitem__))
        _put(found, name, None if name in ruled and "null" in types(part) else common)
    return found


def _filled(found: str, is_text: bool) -> Any:
    number = found.replace(",", "")
    if is_text or not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", number):
        return found
    return float(number) if "." in number else int(number)


def _put(record: Json, name: str, found: Any) -> None:
    *path, last = name.split(".")
    for step in path:
        record = record.setdefault(step, {})
    record[last] = found
