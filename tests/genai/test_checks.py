"""Checks: twins, languages, distributions that any number survives."""

import re
from typing import Any

import checks
import pytest

TEXT = "Two laptops with the records of {} patients were stolen from the office in May."


@pytest.mark.parametrize("similarity", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("words", [1, 2, 3, 5, 7, 30])
def test_equal_texts_are_twins_whatever_their_length(words: int, similarity: float) -> None:
    text = " ".join(f"word{i}" for i in range(words))
    found = checks.near_twins([text, "something else was said here", text], similarity)
    assert [(one, other) for one, other, _ in found] == [(0, 2)]
    assert found[0][2] == pytest.approx(1)


def test_twins_are_found_in_later_parts_and_each_pair_once() -> None:
    texts = [f"report number n{i} about matter m{i} of office o{i}" for i in range(1100)]
    texts[1050] = texts[3] + " today"
    texts[1099] = texts[700]
    pairs = [(one, other) for one, other, _ in checks.near_twins(texts, 0.8)]
    assert pairs == [(3, 1050), (700, 1099)]


def test_a_changed_number_makes_twins_and_another_report_does_not() -> None:
    texts = [TEXT.format("1,874"), TEXT.format("2,500"), "A server was hacked in the winter."]
    pairs = [(one, other) for one, other, _ in checks.near_twins(texts, 0.5)]
    assert pairs == [(0, 1)]


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        (
            "客户李明于三月五日在上海分公司报告一台笔记本电脑被盗，内含一千{}百名患者的姓名和地址。",
            "二",
            "三",
        ),
        (
            "三月五日に上海の支店からノートパソコンが盗まれ、{}人の患者の氏名と住所が含まれていた。",
            "二",
            "三",
        ),
        ("คอมพิวเตอร์ของคลินิกถูกขโมยไปพร้อมชื่อและที่อยู่ของผู้ป่วย{}คน", "๒", "๓"),
    ],
)
def test_twins_are_found_where_words_have_no_spaces(text: str, one: str, other: str) -> None:
    pairs = checks.near_twins([text.format(one), text.format(other), text[::-1]], 0.8)
    assert [pair[:2] for pair in pairs] == [(0, 1)]


def test_words_with_spaces_are_those_of_before() -> None:
    text = "A l'été, 1,874 patients' x_1 Straße no. 7 — Москва и 서울 ab-c d e2"
    words = re.findall(r"\b\w\w+\b", text.lower())
    assert checks.pieces(text) == [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


@pytest.mark.parametrize("texts", [["a", "b"], ["", "!"], ["5", "6"]])
def test_short_texts_that_differ_are_no_twins(texts: list[str]) -> None:
    assert checks.near_twins(texts, 0.5) == []


def test_clusters_tie_chains_together_in_any_order() -> None:
    pairs = [(3, 4, 1.0), (0, 1, 1.0), (1, 3, 1.0), (5, 6, 1.0)]
    for given in (pairs, pairs[::-1]):
        assert checks.clusters(8, given) == [0, 0, 2, 0, 0, 5, 5, 7]
    assert checks.clusters(3, []) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The laptop was stolen from a parked car, and all patients were told.", "en"),
        ("Der Laptop wurde aus einem geparkten Auto gestohlen, alle wurden informiert.", "de"),
        ("L'ordinateur portable a été volé dans une voiture, les patients le savent.", "fr"),
    ],
)
def test_languages_are_told_apart(text: str, code: str) -> None:
    assert checks.language(text) == code


def test_a_text_without_words_has_some_language() -> None:
    assert all(len(checks.language(text)) == 2 for text in ("", "123", "\x00", "😀"))


def test_numbers_have_quantiles_and_choices_are_counted() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": ["integer", "null"]},
            "kind": {"enum": [1, 2, None]},
            "list": {"type": "array", "items": {"enum": ["a", "b"]}},
            "flag": {"type": "boolean"},
        },
    }
    outputs: list[dict[str, Any]] = [
        {"n": 1, "kind": 1, "list": ["a", "b"], "flag": True},
        {"n": 3, "kind": 1, "list": ["a"], "flag": True},
        {"n": None, "kind": None, "list": [], "flag": False},
        {},
    ]
    found = checks.distribution(outputs, schema)
    assert found["n"] == {"null_share": 0.5, "nullable": True, "quantiles": [1, 1.5, 2, 2.5, 3]}
    assert (found["kind"]["counts"], found["kind"]["null_share"]) == ({"1": 2}, 0.5)
    assert found["list"]["counts"] == {"a": 2, "b": 1}
    assert found["flag"]["counts"] == {"True": 2, "False": 1}
    assert not found["flag"]["nullable"]


def test_a_field_that_is_always_null_is_one_that_has_no_values() -> None:
    schema = {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}
    found = checks.distribution([{"n": None}], schema)["n"]
    assert found == {"null_share": 1, "nullable": True, "distinct": 0, "counts": {}}


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize(
    "numbers",
    [
        [10**30, 5],
        [2**63, -(2**63), 1.5],
        [1e308, -1e308],
    ],
)
def test_large_numbers_have_finite_quantiles(numbers: list[Any]) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    found = checks.distribution([{"n": n} for n in numbers], schema)["n"]["quantiles"]
    assert found[0] == pytest.approx(min(numbers)) and found[-1] == pytest.approx(max(numbers))


def test_only_the_commonest_values_are_kept_and_long_ones_are_cut() -> None:
    schema = {"type": "object", "properties": {"t": {"type": "string"}}}
    outputs = [{"t": f"{i:03d}" + "x" * 100} for i in range(40)] + [{"t": "often"}] * 2
    found = checks.distribution(outputs, schema)["t"]
    assert found["distinct"] == 41 and len(found["counts"]) == 30
    assert next(iter(found["counts"])) == "often"
    assert max(map(len, found["counts"])) == 60
