"""Faults that were found and not yet mended; a test turns red once its fault is gone."""

import random
from pathlib import Path
from typing import Any

import behaviour
import jsonschema
import pytest
import records
import requested
import scoring
import sources

CARD = Path(__file__).parent.parent.parent / "blueprints/genai/sample"


def fault(reason: str, error: Any = AssertionError) -> Any:
    return pytest.mark.xfail(strict=True, raises=error, reason=reason)


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@fault("sources.readable: a backslash before the end of the whole text is left")
def test_no_text_of_the_sample_ends_in_the_backslash_of_a_line_end() -> None:
    assert not any(row["input"].endswith("\\") for row in sources.read_sample(CARD))


@pytest.mark.parametrize("key", ["not", "items"])
def test_a_schema_too_deep_to_be_copied_is_refused_by_its_field(key: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(600):
        deep = {key: deep}
    named = {"type": "json_schema", "json_schema": {"schema": deep}}
    said = {"messages": [{"role": "user", "content": "a"}], "response_format": named}
    with pytest.raises(requested.BadInput, match="schema"):
        requested.check(requested.Conversation.model_validate(said))


def test_a_circle_through_an_optional_part_is_a_value_error() -> None:
    schema = of(x={"anyOf": [{"$ref": "#/properties/x"}, {"type": "null"}]})
    with pytest.raises(ValueError, match="circle"):
        records.fields(schema)


def test_a_choice_may_be_anything() -> None:
    schema = of(x={"anyOf": [True, {"type": "null"}]})
    jsonschema.Draft202012Validator.check_schema(schema)
    assert records.guidance(schema)["properties"]["x"]


def test_a_whole_number_with_a_point_is_written_as_an_integer() -> None:
    assert records.write({"x": 5.0}, of(x={"type": ["integer", "null"]})) == '{"x": 5}'


@pytest.mark.parametrize("limit", [{"exclusiveMaximum": 14}, {"multipleOf": 6}])
def test_a_swapped_number_keeps_every_limit_of_its_field(limit: dict[str, int]) -> None:
    schema = of(n={"type": "integer"} | limit)
    validator = jsonschema.Draft202012Validator(schema)
    for seed in range(20):
        case = behaviour.numbers("Of 12 people.", {"n": 12}, schema, random.Random(seed))
        assert case is None or validator.is_valid(case[1])


def test_limits_with_one_whole_number_between_make_no_case() -> None:
    schema = of(n={"type": "integer", "minimum": 11.5, "maximum": 12.9})
    assert behaviour.numbers("Of 12.", {"n": 12}, schema, random.Random(0)) is None


def test_a_number_beyond_all_is_no_json() -> None:
    assert scoring.parsed('{"x": 1e999}') is None
