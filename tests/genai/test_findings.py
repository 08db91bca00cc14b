"""Which examples are left out, with a reason that helps; which only look like contradictions."""

from pathlib import Path
from typing import Any

import base
import findings
import pytest

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "places": {"type": "array", "items": {"enum": ["a", "b"]}},
        "story": {"type": "string"},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["people", "places"],
    "additionalProperties": False,
}
GOOD: dict[str, Any] = {"people": 5, "places": ["a", "b"]}
LIMIT = 1000  # tokens of an answer


def row(text: str = "a text", output: Any = GOOD, problem: str = "") -> dict[str, Any]:
    return {"id": text[:6], "input": text, "output": output, "problem": problem}


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> Any:
    return base.tokenizer(base_model)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (GOOD, ""),
        (GOOD | {"people": None}, ""),
        (GOOD | {"story": "x" * 200}, ""),
        (GOOD | {"story": 'é "quoted" \\ \u2028 \n \U0001f600 \x7f'}, ""),
        ({"places": ["b", "a"], "people": 1}, ""),
        (GOOD | {"people": "5"}, "people: '5' is not of type 'integer', 'null'"),
        (GOOD | {"people": 5.5}, "people: 5.5 is not of type"),
        (GOOD | {"places": ["a", "c"]}, "places.1: 'c' is not one of ['a', 'b']"),
        ({"people": 5}, "the record: 'places' is a required property"),
        (GOOD | {"more": 1}, "the record: Additional properties are not allowed"),
        (GOOD | {"day": "yesterday"}, "day: 'yesterday' is not a 'date'"),
        (None, "the record: None is not of type 'object'"),
        (GOOD | {"story": "x" * 201}, "decoding has to end after"),
        (GOOD | {"people": 10**16}, "decoding has to end after"),
        (GOOD | {"people": 10**3000}, "decoding has to end after"),
        (GOOD | {"places": ["a"] * 21}, "decoding has to end after"),
    ],
)
def test_a_record_that_cannot_be_learnt_says_where(
    tokenizer: Any, output: Any, reason: str
) -> None:
    (found,) = findings.reasons([row(output=output)], SCHEMA, tokenizer, LIMIT)
    assert found.startswith(reason) and bool(found) == bool(reason) and len(found) < 200


def test_the_reason_is_told_also_of_a_long_record(tokenizer: Any) -> None:
    output = GOOD | {"story": ["word " * 500]}
    (found,) = findings.reasons([row(output=output)], SCHEMA, tokenizer, LIMIT)
    assert found.startswith("story: ['word") and found.endswith("is not of type 'string'")


def test_a_record_longer_than_any_answer_names_the_limit_and_the_longest(tokenizer: Any) -> None:
    outputs = [GOOD, GOOD | {"story": "word " * 20}, GOOD | {"story": "word " * 30}]
    rows = [row(output=output) for output in outputs]
    rows.append(row(output=GOOD | {"story": "x" * 999}))  # no limit would help this one
    size, middle, most = (len(findings.written(one, SCHEMA, tokenizer)) for one in rows[:3])
    found = findings.reasons(rows, SCHEMA, tokenizer, middle - 1)
    assert found[0] == "" and found[3].startswith("decoding has to end")
    for why, number in zip(found[1:3], (middle, most), strict=True):
        assert f"has {number} tokens, and evaluate.max_answer_tokens is {middle - 1};" in why
        assert f"set it to {most} at least" in why and len(why) < 200
    assert findings.reasons(rows, SCHEMA, tokenizer, most)[:3] == ["", "", ""]
    assert findings.reasons(rows[:1], SCHEMA, tokenizer, size) == [""]


def test_an_answer_may_have_as_many_tokens_as_the_limit(tokenizer: Any) -> None:
    """Decoding ends with the last of a record, so that the one which ends an answer needs none."""
    guide = findings.Guide(tokenizer, SCHEMA)
    (matcher,) = guide.matchers(1)
    for token in findings.written(row(), SCHEMA, tokenizer):
        assert not matcher.is_stopped() and matcher.consume_token(token)
    assert matcher.is_stopped()


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "\x00\x01", "\u2066\u2069"])
def test_a_text_that_nobody_sees_is_empty(text: str) -> None:
    assert findings.reasons([row(text)], SCHEMA, None, LIMIT) == ["input is empty"]


def test_what_ingest_found_comes_first_and_each_row_has_its_own_reason(tokenizer: Any) -> None:
    rows = [
        row("", None, "not JSON"),
        row(),
        row(output={}),
        row(output=GOOD | {"story": "x" * 999}),
    ]
    found = findings.reasons(rows, SCHEMA, tokenizer, LIMIT)
    assert found[:2] == ["not JSON", ""] and "required" in found[2] and "decoding" in found[3]


def test_a_text_stands_once_and_lists_in_another_order_are_no_contradiction() -> None:
    other = {"places": ["b", "a"], "people": 5.0}
    rows = [row("one\n text"), row("one  text ", other), row("two"), row("three"), row("Two")]
    rows += [row("three", GOOD | {"people": 6}), row("three")]
    kept, copies, conflicts = findings.without_copies(rows)
    assert [one["input"] for one in kept] == ["one\n text", "two", "Two"]
    assert [one["input"] for one in copies] == ["one  text "]
    assert [one["input"] for one in conflicts] == ["three"] * 3
    assert findings.without_copies([]) == ([], [], [])


def test_the_report_shows_the_beginning_of_the_first() -> None:
    rows = [row("x" * 500), row("y"), row("z")]
    assert findings.shown(rows, ["a", "b", "c"], 2) == [
        {"id": "xxxxxx", "text": "x" * 80, "why": "a"},
        {"id": "y", "text": "y", "why": "b"},
    ]
    assert findings.shown(rows, ["a", "b", "c"], 0) == []
    assert findings.quantiles([1, 2, 3]) == pytest.approx([1.1, 2, 2.9, 3])
