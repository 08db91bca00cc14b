"""The baseline of regular expressions: the first that matches, and wrong rules named."""

from typing import Any

import baselines
import pytest
from baselines import Rule

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "case": {"type": "string"},
        "where": {"type": "object", "properties": {"room": {"enum": ["a", "b", None]}}},
        "list": {"type": "array", "items": {"enum": ["x", "y"]}},
    },
}
EMPTY = {"people": None, "case": "", "where": {"room": None}, "list": []}


def found(text: str, *rules: tuple[str, str, Any], usual: dict[str, Any] = EMPTY) -> Any:
    made = tuple(Rule(field=field, pattern=pattern, value=value) for field, pattern, value in rules)
    return baselines.record(text, baselines.compiled(made, SCHEMA), usual)


def test_the_first_rule_that_matches_gives_the_value_whatever_the_case() -> None:
    rules = ("where.room", "room b", "b"), ("where.room", "room", "a"), ("list", "xs", ["x"])
    assert found("In ROOM B", *rules) == EMPTY | {"where": {"room": "b"}}
    assert found("a room of Xs", *rules) == EMPTY | {"where": {"room": "a"}, "list": ["x"]}
    assert found("", *rules) == EMPTY
    assert EMPTY["where"] == {"room": None}, "the usual record was changed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,874 people", 1874),
        ("12 people", 12),
        ("-5 people", -5),
        ("3.5 people", 3.5),
        ("007 people", 7),
        ("many people", "many"),
        (",,, people", ",,,"),
        ("² people", "²"),
        ("٣ people", "٣"),
        ("9" * 5000 + " people", "9" * 5000),
        ("nobody", None),
    ],
)
def test_what_a_group_matched_is_a_number_where_it_is_one(text: str, expected: Any) -> None:
    given = found(text, ("people", r"(\S+) people", "$1"))["people"]
    assert given == expected and type(given) is type(expected)


@pytest.mark.parametrize("case", ["007", "1,874", "12", "A-1"])
def test_a_text_stays_a_text_though_it_looks_like_a_number(case: str) -> None:
    assert found(f"case {case} closed", ("case", r"case (\S+)", "$1"))["case"] == case


def test_a_group_that_took_no_part_leaves_the_field_to_the_next_rule() -> None:
    rules = ("people", r"all(?: (\d+))? were told", "$1"), ("people", "told", 1)
    assert found("all were told", *rules)["people"] == 1
    assert found("all 30 were told", *rules)["people"] == 30


@pytest.mark.parametrize(
    ("field", "pattern", "value", "why"),
    [
        ("people", "(", 1, "is no pattern"),
        ("people", "*", 1, "is no pattern"),
        ("people", "a{99999999999}", 1, "is no pattern"),
        ("people", "(?P<a>x)(?P<a>y)", 1, "is no pattern"),
        ("people", "(?<=a+)b", 1, "is no pattern"),
        ("people", r"\d+ people", "$1", "has no group"),
        ("where", "x", 1, "is none of people, case, where.room, list"),
        ("nothing", "x", 1, "is none of"),
    ],
)
def test_a_wrong_rule_is_named_by_its_place(field: str, pattern: str, value: Any, why: str) -> None:
    good = Rule(field="people", pattern="x", value=1)
    wrong = Rule(field=field, pattern=pattern, value=value)
    with pytest.raises(SystemExit, match=r"params.yaml: evaluate.rules.1: ") as stopped:
        baselines.compiled((good, wrong), SCHEMA)
    assert why in str(stopped.value)


def test_the_usual_record_has_the_commonest_answers_and_null_where_rules_look() -> None:
    outputs = [
        {"people": 5, "case": "a", "where": {"room": "b"}, "list": ["x"]},
        {"people": 5, "case": "b", "where": {"room": None}, "list": ["x"]},
        {"people": 7, "case": "b", "where": {"room": None}, "list": []},
    ]
    usual = {"people": 5, "case": "b", "where": {"room": None}, "list": ["x"]}
    assert baselines.usual(outputs, SCHEMA, ()) == usual
    rules = (
        Rule(field="people", pattern="(x)", value="$1"),
        Rule(field="case", pattern="(x)", value="$1"),
        Rule(field="list", pattern="x", value=["y"]),
    )
    assert baselines.usual(outputs, SCHEMA, rules) == usual | {"people": None}


def test_ties_are_broken_in_the_same_way_whatever_the_order() -> None:
    outputs = [{"case": "b"}, {"case": "a"}]
    first, second = (baselines.usual(rows, SCHEMA, ()) for rows in (outputs, outputs[::-1]))
    assert first == second


def test_records_share_no_part_with_a_rule_or_with_each_other() -> None:
    rule = Rule(field="list", pattern="x", value=["x"])
    patterns = baselines.compiled((rule,), SCHEMA)
    one = baselines.record("x", patterns, EMPTY)
    one["where"]["room"] = "b"
    assert baselines.record("", patterns, EMPTY) == EMPTY
