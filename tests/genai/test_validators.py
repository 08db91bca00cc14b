"""Multiples are judged as they are written, not as binary fractions."""

from typing import Any

import pytest
import scoring
from validators import validator


def of(part: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": part}, "additionalProperties": False} | more


@pytest.mark.parametrize(("step", "parts"), [(0.01, 100), (0.1, 10), (0.05, 20)])
def test_every_multiple_is_one_and_nothing_between(step: float, parts: int) -> None:
    judge = validator(of({"type": "number", "multipleOf": step}))
    numbers = [count / parts for count in range(5000)]
    assert all(judge.is_valid({"a": number}) for number in numbers)
    assert not any(judge.is_valid({"a": number + step / 2}) for number in numbers)
    assert scoring.score([{"a": 0.07}], [{"a": 0.07}], judge.schema)["valid_json"] == (step == 0.01)


@pytest.mark.parametrize("found", [float("nan"), float("inf"), 10**400 + 1, 1e300, "x", True])
def test_odd_values_are_judged_and_raise_nothing(found: Any) -> None:
    judge = validator(of({"multipleOf": 10}))
    assert judge.is_valid({"a": found}) is (found in ("x", True, 1e300))


@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-07/schema#", None])
def test_multiples_behind_a_reference_are_judged_alike(draft: str | None) -> None:
    again = {"$ref": "#"}
    more = {"properties": {"a": {"multipleOf": 0.01}, "next": again}}
    schema = of({}, **more, **({"$schema": draft} if draft else {}))
    judge = validator(schema)
    assert judge.is_valid({"a": 0.07, "next": {"a": 0.07}})
    assert not judge.is_valid({"a": 0.07, "next": {"a": 0.075}})


def test_formats_are_judged_where_wished() -> None:
    schema = of({"type": "string", "format": "date"})
    assert validator(schema).is_valid({"a": "yesterday"})
    assert not validator(schema, formats=True).is_valid({"a": "yesterday"})
