"""What is kept of texts and records: numbers, choices and tags, and nothing personal."""

from typing import Any

import pytest
import traces

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "name": {"type": "string"},
        "kind": {"anyOf": [{"$ref": "#/$defs/kind"}, {"type": "null"}]},
        "places": {"type": "array", "items": {"$ref": "#/$defs/kind"}},
        "notes": {"type": "array", "items": {"type": "string"}},
        "any": {"type": "array", "items": True},
        "open": {"type": "object", "properties": {"flag": {"type": ["boolean", "null"]}}},
        "either": {"type": ["boolean", "string"]},
    },
    "$defs": {"kind": {"enum": ["a", "b"]}},
}


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("", 0),
        ("A clinic's (old) laptop; 1,874 people: gone!", 0),
        ("हिन्दी में नाम", 0),
        ("e\u0301te\u0301 Ñandú 太阳 עברית العربية", 0),
        ("ab<>", 0.5),
        ("\x00{}\U0001f600", 1),
    ],
)
def test_letters_of_any_script_are_not_odd(text: str, odd: float) -> None:
    found = traces.features(text, [1, 2])
    assert found["odd_share"] == odd and set(found) == set(traces.FEATURES)
    assert found["tokens"] == 2 and found["characters_per_token"] == max(len(text), 1) / 2


def test_no_tokens_are_no_error() -> None:
    assert traces.features("", []) == {"tokens": 0, "characters_per_token": 1, "odd_share": 0}


def test_only_choices_are_kept_of_a_record() -> None:
    record = {"people": 1874, "name": "Jane Doe", "kind": "b", "places": ["b", "a", "b"]}
    record |= {"notes": ["Jane Doe"], "any": ["Jane Doe"], "open": {"flag": True}}
    found = traces.kinds(record | {"either": "Jane Doe"}, SCHEMA)
    assert found["kind"] == ["b"] and found["places"] == ["a", "b"]
    assert found["open.flag"] == ["True"] and found["people"] == ["given"]
    for name in ("name", "notes", "any", "either"):
        assert found[name] == ["given"]
    assert "Jane" not in str(found) and "1874" not in str(found)


@pytest.mark.parametrize("record", [None, {}, "Jane", {"people": None, "open": None}])
def test_what_is_not_there_is_null(record: Any) -> None:
    assert set(map(str, traces.kinds(record, SCHEMA).values())) == {"['null']"}


def test_an_answer_beside_the_choices_is_not_kept() -> None:
    assert traces.kinds({"places": []}, SCHEMA)["places"] == ["empty"]
    found = traces.kinds({"kind": "Jane Doe", "places": ["a", "Jane"]}, SCHEMA)
    assert found["kind"] == ["given"] and found["places"] == ["a", "given"]
    assert traces.kinds({"places": "a", "open": {"flag": "Jane"}}, SCHEMA)["open.flag"] == ["given"]


RECORD = {"people": 1874, "name": "Jane Doe", "places": ["a", "b"], "open": {"flag": True}}
ID, SECRET = "f" * 40, b"secret"


def test_a_tag_is_the_same_for_the_same_value_only() -> None:
    found = traces.tags(RECORD, SCHEMA, ID, SECRET)
    other = RECORD | {"people": 1874.0, "name": " Jane  Doe", "places": ["b", "a"]}
    assert found == traces.tags(other, SCHEMA, ID, SECRET), "as `same` takes them for equal"
    assert set(found) == {"people", "name", "kind", "places", "notes", "any", "open.flag", "either"}
    changed = {"people": 1875, "name": "Jane Roe", "places": ["a"], "open": {"flag": False}}
    for name, value in {**changed, "kind": "a"}.items():
        corrected = traces.tags(RECORD | {name: value}, SCHEMA, ID, SECRET)
        differs = {key for key in found if corrected[key] != found[key]}
        assert differs == {"open.flag" if name == "open" else name}


def test_without_the_secret_a_tag_says_nothing() -> None:
    """Neither the value nor whether two requests have the same one."""
    found = traces.tags(RECORD, SCHEMA, ID, SECRET)
    assert "Jane" not in str(found) and "1874" not in str(found)
    elsewhere = [("e" * 40, SECRET), (ID, b"other")]
    for request_id, secret in elsewhere:
        again = traces.tags(RECORD, SCHEMA, request_id, secret)
        assert all(again[name] != found[name] for name in found)
    assert len(set(found.values())) == len(found), "nor whether two fields have"


@pytest.mark.parametrize("record", [None, "Jane", {"people": "\ud800"}, {"any": [{"a": [None]}]}])
def test_whatever_a_correction_says_has_tags(record: Any) -> None:
    assert len(traces.tags(record, SCHEMA, ID, SECRET)) == 8
