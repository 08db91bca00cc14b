"""Fields by name, one way of writing, and limits that decoding can keep."""

import json
from pathlib import Path
from typing import Any

import base
import jsonschema
import pytest
from guided import Guide, problem_of
from records import fields, guidance, overlap, plain, same, value, write

from genai.documents import NESTED

Json = dict[str, Any]


def object_of(properties: Json, **more: Any) -> Json:
    whole = {"type": "object", "properties": properties, "required": list(properties)}
    return whole | {"additionalProperties": False} | more


OPTIONAL = object_of(
    {"holder": {"anyOf": [{"$ref": "#/$defs/Holder"}, {"type": "null"}]}, "note": {}},
    **{"$defs": {"Holder": object_of({"name": {"type": "string"}, "size": {"type": "integer"}})}},
)


def test_nested_objects_are_opened_and_lists_are_not() -> None:
    names = ["holder.name", "holder.state", "loss.theft", "loss.media", "loss.people"]
    assert list(fields(NESTED)) == names
    assert list(fields(OPTIONAL)) == ["holder.name", "holder.size", "note"]


def test_an_object_without_properties_is_one_field() -> None:
    schema = object_of({"a": {"type": "object"}, "b": {"type": "object", "properties": {}}})
    assert list(fields(schema)) == ["a", "b"]


@pytest.mark.parametrize("name", ["a.b", ".", ""])
def test_names_that_could_not_be_told_apart_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name has no dot"):
        fields(object_of({"x": object_of({name: {"type": "string"}})}))


@pytest.mark.parametrize("optional", [False, True])
def test_objects_that_hold_each_other_are_refused_and_trees_of_lists_are_not(
    optional: bool,
) -> None:
    again: Json = {"$ref": "#"}
    inner = {"anyOf": [again, {"type": "null"}]} if optional else again
    with pytest.raises(ValueError, match="goes in a circle"):
        fields(object_of({"next": inner, "other": inner}))
    tree = object_of({"name": {"type": "string"}, "parts": {"type": "array", "items": again}})
    assert list(fields(tree)) == ["name", "parts"]
    record = {"parts": [{"parts": [], "name": "leaf"}], "name": "root"}
    assert write(record, tree).startswith('{"name": "root", "parts": [{"name": "leaf"')


@pytest.mark.parametrize("record", [None, [], 5, "x", {}, {"a": None}, {"a": 5}, {"a": [1]}])
def test_a_record_without_a_field_has_none_there(record: Any) -> None:
    assert value(record, "a.b.c") is None


def test_a_record_is_written_in_the_order_of_the_schema() -> None:
    record = {"holder": {"size": 1, "name": "ü\u2028\U0001f600"}, "extra": 1}
    assert list(json.loads(write(record, OPTIONAL))) == ["holder", "extra"]
    assert write(record, OPTIONAL).startswith('{"holder": {"name": "ü\u2028\U0001f600", "size": 1}')
    assert write({"holder": None}, OPTIONAL) == '{"holder": null}'


def test_objects_in_lists_and_in_a_choice_of_objects_are_ordered_too() -> None:
    item = {"anyOf": [object_of({"a": {}, "b": {}}), object_of({"c": {}, "d": {}})]}
    schema = object_of({"list": {"type": "array", "items": item}})
    record = {"list": [{"b": 1, "a": 2}, {"d": 1, "c": 2}]}
    assert write(record, schema) == '{"list": [{"a": 2, "b": 1}, {"c": 2, "d": 1}]}'
    odd = object_of({"pair": {"type": "array", "items": [{"type": "object"}]}})
    assert write({"pair": [{"b": 1, "a": 2}]}, odd) == '{"pair": [{"b": 1, "a": 2}]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_written(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write({"a": number}, object_of({"a": {"type": "number"}}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["b", "a"]),
        ([{"x": 1, "y": [1, 2]}, {"x": 2}], [{"x": 2}, {"y": [2, 1], "x": 1}]),
        (5, 5.0),
        (" two\n words", "two words "),
        (None, None),
    ],
)
def test_the_same_in_another_order_or_space(one: Any, other: Any) -> None:
    assert same(one, other) and same({"k": [one]}, {"k": [other]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        (0, None),
        ("", None),
        ([], None),
        ([], {}),
        ("5", 5),
        (["a"], ["a", "a"]),
        (["a"], plain(["a"])),
        ({"a": 1}, {"b": 1}),
        (5, 5.5),
        ("a b", "ab"),
    ],
)
def test_what_only_looks_the_same_is_not(one: Any, other: Any) -> None:
    assert not same(one, other)


def test_overlap_of_words() -> None:
    assert overlap("", "") == 1 and overlap("", "a") == 0 and overlap("A b", "b a") == 1
    assert overlap("a a b", "a c") == pytest.approx(2 / 5)


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> Any:
    return base.tokenizer(base_model)


def follows(tokenizer: Any, schema: Json, text: str) -> bool:
    """Can decoding say exactly this?"""
    assert problem_of(guidance(schema)) == ""
    guide = Guide(tokenizer, schema)
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], guide.end]
    (matcher,) = guide.matchers(1)
    return bool(matcher.validate_tokens(ids) == len(ids))


@pytest.mark.parametrize(
    ("part", "inside", "beyond"),
    [
        ({"type": "string"}, "x" * 200, "x" * 201),
        ({"type": "string", "maxLength": 300}, "x" * 300, "x" * 301),
        ({"type": "string", "minLength": 250}, "x" * 250, "x" * 251),
        ({"type": "string", "pattern": "^x*$"}, "x" * 200, "x" * 201),
        ({"type": "string", "format": "unknown"}, "x" * 200, "x" * 201),
        ({"type": ["string", "null"]}, None, "x" * 201),
        ({"type": "array", "items": {"type": "boolean"}}, [True] * 20, [True] * 21),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 22}, [True] * 22, [True] * 23),
        ({"type": "integer"}, 10**15, 10**16),
        ({"type": "integer"}, -(10**15), -(10**16)),
        ({"type": "integer", "exclusiveMinimum": 0}, 1, 0),
        ({"type": "integer", "minimum": 10**16}, 10**16, 1),
        ({"type": "integer", "maximum": -(10**16)}, -(10**16), 1),
        ({"type": "number"}, -0.25, 10.0**16),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "x" * 200, "x" * 201),
        ({"type": "object", "properties": {"b": {"type": "null"}}}, {"b": None}, {"c": 1}),
    ],
)
def test_what_the_schema_leaves_open_ends(
    tokenizer: Any, part: Json, inside: Any, beyond: Any
) -> None:
    schema = object_of({"a": part})
    assert follows(tokenizer, schema, write({"a": inside}, schema))
    assert not follows(tokenizer, schema, write({"a": beyond}, schema))


@pytest.mark.parametrize("name", ["anyOf", "default", "examples", "type", "enum", "properties"])
def test_properties_named_like_keywords_are_properties(tokenizer: Any, name: str) -> None:
    schema = object_of({name: {"type": "string"}})
    assert follows(tokenizer, schema, write({name: "x" * 200}, schema))
    assert not follows(tokenizer, schema, write({name: "x" * 201}, schema))


def test_what_the_schema_says_itself_stays(tokenizer: Any) -> None:
    wide = object_of({"a": {"type": "integer"}}, additionalProperties=True)
    assert follows(tokenizer, wide, '{"a": 1, "b": 2}')
    choice = object_of({"a": {"enum": ["x" * 250, 10**16]}})
    assert follows(tokenizer, choice, write({"a": "x" * 250}, choice))
    both = {"allOf": [{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/two"}]}
    parts = {
        name: {"type": "object", "properties": {key: {"type": "integer"}}, "required": [key]}
        for name, key in (("one", "p"), ("two", "q"))
    }
    schema = object_of({"a": both}, **{"$defs": parts})
    assert follows(tokenizer, schema, '{"a": {"p": 1, "q": 2}}')


def test_guidance_leaves_the_schema_as_it_was_and_writes_as_training_does(tokenizer: Any) -> None:
    before = json.dumps(NESTED)
    limited = guidance(NESTED | {"x-guidance": {"whitespace_flexible": True}})
    assert json.dumps(NESTED) == before and not limited["x-guidance"]["whitespace_flexible"]
    schema = object_of({"a": {"type": "integer"}, "b": {"type": "integer"}})
    assert follows(tokenizer, schema, '{"a": 1, "b": 2}')
    for other in ('{"a":1,"b":2}', '{"b": 2, "a": 1}', '{"a": 1, "b": 2} '):
        assert not follows(tokenizer, schema, other)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 5},
        {"enum": 5},
        {"anyOf": [5]},
        {"anyOf": 5},
        {"type": [["a"]]},
        {"properties": [1]},
        {"type": "string", "minLength": "x"},
        {"type": "integer", "minimum": "x"},
    ],
)
def test_what_is_no_schema_is_told(schema: Json) -> None:
    with pytest.raises(ValueError, match="no JSON schema"):
        guidance(schema)


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_a_circle_through_an_optional_part_is_a_value_error() -> None:
    schema = of(x={"anyOf": [{"$ref": "#/properties/x"}, {"type": "null"}]})
    with pytest.raises(ValueError, match="circle"):
        fields(schema)


def test_a_choice_may_be_anything() -> None:
    schema = of(x={"anyOf": [True, {"type": "null"}]})
    jsonschema.Draft202012Validator.check_schema(schema)
    assert guidance(schema)["properties"]["x"]


def test_a_whole_number_with_a_point_is_written_as_an_integer() -> None:
    assert write({"x": 5.0}, of(x={"type": ["integer", "null"]})) == '{"x": 5}'


@pytest.mark.parametrize(
    ("part", "number", "text"),
    [
        ({"enum": [1, 2, 3]}, 2.0, "2"),
        ({"const": 1}, 1.0, "1"),
        ({"type": ["integer", "string"]}, 1.0, "1"),
        ({"type": "number", "enum": [0.5, 1.0, 2]}, 1.0, "1"),
        ({"type": "number", "enum": [0.5, 1.0, 2]}, 2.0, "2"),
        ({"enum": [0.12345678912345]}, 0.12345678912345, "0.12345678912345"),
        ({"anyOf": [{"enum": [1, 2]}, {"type": "string"}]}, 1.0, "1"),
        ({"enum": [[1.0, 2]]}, [1.0, 2], "[1, 2]"),
        ({"type": "number"}, 33.333333333333336, "33.333333333"),
        ({"type": "number"}, 1e-7, "0.0000001"),
        ({"type": "number"}, -0.0, "0"),
        ({"type": "number"}, -1e-12, "0"),
        ({"type": "number"}, 123456789012.34, "123456789012.34"),
        ({"type": "number", "multipleOf": 0.01}, 0.07, "0.07"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, 5.0, "5"),
        ({}, 1e-7, "0.0000001"),
    ],
)
def test_a_number_is_written_as_decoding_can_say_it(
    tokenizer: Any, part: Json, number: Any, text: str
) -> None:
    schema = object_of({"a": part})
    assert write({"a": number}, schema) == f'{{"a": {text}}}'
    assert follows(tokenizer, schema, f'{{"a": {text}}}')
