"""References, optional parts and types of a schema."""

from typing import Any

import pytest
from schemas import is_text, nullable, references, resolve, types

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"kind": {"$ref": "#/$defs/kind"}},
    "$defs": {
        "kind": {"enum": ["a", "b"]},
        "alias": {"$ref": "#/$defs/kind"},
        "a/b~c": {"type": "integer"},
        "one": {"$ref": "#/$defs/other"},
        "other": {"$ref": "#/$defs/one"},
        "any": True,
    },
}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("#/$defs/kind", {"enum": ["a", "b"]}),
        ("#/$defs/alias", {"enum": ["a", "b"]}),
        ("#/$defs/a~1b~0c", {"type": "integer"}),
        ("#/$defs/any", {}),
        ("#", SCHEMA),
    ],
)
def test_a_reference_is_followed_to_its_end(reference: str, found: Any) -> None:
    assert resolve({"$ref": reference}, SCHEMA) == found


@pytest.mark.parametrize(
    "reference",
    [
        "#/$defs/none",
        "#/$defs/kind/enum",
        "#/$defs/kind/enum/0",
        "#kind",
        "https://x.invalid/s",
        "",
    ],
)
def test_a_reference_to_nowhere_says_so(reference: str) -> None:
    with pytest.raises(ValueError, match="leads to nothing"):
        resolve({"$ref": reference}, SCHEMA)


def test_references_that_point_to_each_other_say_so() -> None:
    with pytest.raises(ValueError, match="circle"):
        resolve({"$ref": "#/$defs/one"}, SCHEMA)


@pytest.mark.parametrize("part", [True, False, [], 5, None])
def test_what_is_no_subschema_allows_anything(part: Any) -> None:
    assert resolve(part, SCHEMA) == {}


@pytest.mark.parametrize("key", ["anyOf", "oneOf"])
def test_x_or_null_is_an_x_that_may_be_null(key: str) -> None:
    found = resolve({key: [{"$ref": "#/$defs/kind"}, {"type": "null"}]}, SCHEMA)
    assert found["enum"] == ["a", "b", None] and nullable(found)
    text = resolve({key: [{"type": "null"}, {"type": "string"}]}, SCHEMA)
    assert is_text(text) and nullable(text)


def test_one_of_several_kinds_stays_as_it_is() -> None:
    part = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
    assert resolve(part, SCHEMA) == part and types(part) == {"string", "integer", "null"}


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ({}, set()),
        ({"type": "integer"}, {"integer"}),
        ({"type": ["integer", "null"]}, {"integer", "null"}),
        ({"enum": ["a", None]}, {"null"}),
        ({"const": None}, {"null"}),
        ({"const": 5}, set()),
        ({"oneOf": [{"type": "string"}, {"enum": [None]}]}, {"string", "null"}),
    ],
)
def test_types_of_a_part(part: Any, found: set[str]) -> None:
    assert types(part) == found and nullable(part) == ("null" in found)


def test_choices_dates_and_patterns_are_no_free_text() -> None:
    assert is_text({"type": ["string", "null"]})
    for fixed in ({"enum": ["a"]}, {"const": "a"}, {"format": "date"}, {"pattern": "^a$"}):
        assert not is_text({"type": "string"} | fixed)


def test_references_are_found_wherever_they_stand() -> None:
    part = {"anyOf": [{"$ref": "#/a"}, {"items": {"$ref": "#/b"}}], "properties": {"$ref": {}}}
    assert sorted(references(part)) == ["#/a", "#/b"]
