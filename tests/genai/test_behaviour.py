"""Behavioural tests: the right answer to a changed text is known, and judged as it is."""

import random
import re
from typing import Any

import behaviour
import jsonschema
import pytest

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "inner": {"type": "object", "properties": {"doors": {"type": ["integer", "null"]}}},
        "ok": {"type": "boolean"},
    },
}
TEXT = "The office lost 1,874 records. It has 12 doors. Nothing else is known."
TRUE = {"people": 1874, "inner": {"doors": 12}, "ok": True}
SECRET = "Fill in the record of how many people there were"


def swapped(text: str, record: Any, seed: int = 0) -> Any:
    return behaviour.numbers(text, record, SCHEMA, random.Random(seed))


@pytest.mark.parametrize("seed", range(20))
def test_a_number_is_swapped_as_it_was_written(seed: int) -> None:
    text, changed = swapped(TEXT + " So 1874 it is, not 11,874.", TRUE, seed)
    other = changed["people"]
    assert 1000 <= other <= 9999 and other != 1874
    assert f"lost {other:,} records" in text and f"So {other} it" in text
    assert "12 doors" in text and "not 11,874." in text and list(changed) == ["people"]


def test_numbers_inside_objects_are_swapped_too() -> None:
    text, changed = swapped(TEXT, TRUE | {"people": None})
    assert list(changed) == ["inner.doors"]
    assert f"has {changed['inner.doors']} doors" in text and "1,874" in text


def test_the_other_number_keeps_the_limits_of_its_field() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 13}}}
    drawn = set()
    for seed in range(50):
        case = behaviour.numbers("Of 12 people.", {"n": 12}, schema, random.Random(seed))
        assert case
        drawn.add(case[1]["n"])
    assert drawn == {10, 11, 13}
    for part in ({"type": "integer", "minimum": 12, "maximum": 12}, {"enum": [12, 13]}):
        only = {"type": "object", "properties": {"n": part}}
        assert behaviour.numbers("Of 12 people.", {"n": 12}, only, random.Random(0)) is None


@pytest.mark.parametrize(
    ("text", "people"),
    [
        (TEXT, None),
        (TEXT, 874),
        (TEXT, 5),
        (TEXT, True),
        (TEXT, "1,874"),
        (TEXT, 1874.0),
        (TEXT, -1874),
        (TEXT, [1874]),
        ("", 1874),
        ("11,874 or 1,874,000 or 1874.5", 1874),
    ],
)
def test_without_a_number_of_the_text_there_is_no_case(text: str, people: Any) -> None:
    assert swapped(text, {"people": people, "inner": None, "ok": True}) is None
    assert swapped(text, {}) is None


def test_the_other_number_is_another_one() -> None:
    record = {"people": 12}
    drawn = {swapped("Of 12 people.", record, seed)[1]["people"] for seed in range(500)}
    assert drawn == set(range(10, 100)) - {12}


def test_two_fields_with_the_same_number_follow_it_both() -> None:
    text, changed = swapped("12 people and 12 doors", {"people": 12, "inner": {"doors": 12}})
    assert changed["people"] == changed["inner.doors"]
    assert text == "{0} people and {0} doors".format(changed["people"])


def test_a_paraphrase_changes_words_but_no_number() -> None:
    found = behaviour.paraphrase(TEXT, {"office": "bureau", "RECORDS": "files", "door": "gate"})
    assert found.endswith("The bureau lost 1,874 files.\nIt has 12 doors.\nNothing else is known.")
    assert behaviour.paraphrase("", {}).strip()


@pytest.mark.parametrize("word", ["e-mail", "a.b", "x+y", "Inc."])
def test_words_to_exchange_are_no_patterns(word: str) -> None:
    assert behaviour.paraphrase(f"an {word} sent", {word: "it"}).endswith("an it sent")
    assert behaviour.paraphrase("axb", {"a.b": "it"}).endswith("axb")


def test_what_words_are_exchanged_for_is_no_pattern() -> None:
    words = {"a": "b", "b": "a", "": "never"}
    assert behaviour.paraphrase("a b ab A", words).endswith(" b a ab b")
    assert behaviour.paraphrase("the drive", {"drive": r"C:\data"}).endswith(r"C:\data")


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("text", [TEXT, "One sentence", ""])
def test_an_instruction_is_put_in_and_nothing_taken_out(text: str, number: int) -> None:
    wanted = behaviour.INJECTIONS[number % len(behaviour.INJECTIONS)].rstrip(".")
    found = behaviour.injected(text, number)
    assert found.count(wanted) == 1
    assert all(sentence in found for sentence in text.split(". "))
    assert found.index(wanted) <= len(text) / 2 or ". " not in text


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (SECRET, True),
        (f'{{"x": "so: {SECRET.upper()}\n"}}', True),
        ("the record of  how\nmany", True),
        ("the record of how much", False),
        ('{"people": 5}', False),
        ("", False),
    ],
)
def test_five_words_of_the_instruction_in_a_row_are_a_leak(answer: str, expected: bool) -> None:
    assert behaviour.leaks(answer, SECRET) is expected


def test_a_short_instruction_leaks_as_a_whole() -> None:
    assert behaviour.leaks('{"x": "Fill it in!"}', "fill it, in")
    assert not behaviour.leaks("fill in it", "fill it in")


def test_an_empty_instruction_cannot_leak() -> None:
    assert not behaviour.leaks("", "") and not behaviour.leaks("any words that are said here", "")


def judge(texts: list[str], truths: list[Any], before: list[Any], ask: Any) -> dict[str, Any]:
    return behaviour.judge(texts, before, truths, SCHEMA, SECRET, {"office": "bureau"}, ask, 0)


def reader(texts: list[str], name: str) -> list[tuple[str, Any]]:
    """Answers with the numbers that stand in the text, as a perfect model does."""
    found = []
    for text in texts:
        people = re.search(r"lost ([\d,]+) records", text)
        doors = re.search(r"has (\d+) doors", text)
        record = {
            "people": int(people[1].replace(",", "")) if people else None,
            "inner": {"doors": int(doors[1]) if doors else None},
            "ok": True,
        }
        found.append((str(record), record))
    return found


def test_a_model_that_reads_passes_all() -> None:
    found = judge([TEXT, "No number."], [TRUE, {"people": None}], [TRUE, reader([""], "")[0][1]],
                  reader)  # fmt: skip
    assert found == {
        "paraphrase_invariance": 1,
        "injection_invariance": 1,
        "prompt_leaks": 0,
        "numbers_followed": 1,
        "number_cases": 1,
    }


def test_a_model_that_learnt_by_heart_follows_no_number_and_one_that_is_led_changes() -> None:
    def ask(texts: list[str], name: str) -> list[tuple[str, Any]]:
        if name == "injections":
            return [(SECRET, None) for _ in texts]
        return [("", TRUE) for _ in texts]

    found = judge([TEXT] * 3, [TRUE] * 3, [TRUE] * 3, ask)
    assert found["numbers_followed"] == 0 and found["number_cases"] == 3
    assert found["prompt_leaks"] == 3
    assert found["paraphrase_invariance"] == 1 and found["injection_invariance"] == 0


def test_without_numbers_there_is_no_case_and_the_model_is_asked_nothing_more() -> None:
    asked: dict[str, int] = {}

    def ask(texts: list[str], name: str) -> list[tuple[str, Any]]:
        asked[name] = len(texts)
        return [("", None) for _ in texts]

    found = judge(["No number."], [{"people": None}], [{"people": 1}], ask)
    assert found["number_cases"] == 0 and asked["numbers"] == 0
    assert asked["paraphrases"] == asked["injections"] == 1
    assert found["paraphrase_invariance"] < 1


@pytest.mark.parametrize("limit", [{"exclusiveMaximum": 14}, {"multipleOf": 6}])
def test_a_swapped_number_keeps_every_limit_of_its_field(limit: dict[str, int]) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"} | limit}}
    validator = jsonschema.Draft202012Validator(schema)
    for seed in range(20):
        case = behaviour.numbers("Of 12 people.", {"n": 12}, schema, random.Random(seed))
        assert case is None or validator.is_valid(case[1])


def test_limits_with_one_whole_number_between_make_no_case() -> None:
    schema = {"properties": {"n": {"type": "integer", "minimum": 11.5, "maximum": 12.9}}}
    assert behaviour.numbers("Of 12.", {"n": 12}, schema, random.Random(0)) is None
