"""Checks: twins, personal data without false alarms, distributions that any number survives."""

import time
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


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe+x@clinic-a.example.org.", "email"),
        ("call 555-123-4567 today", "phone"),
        ("call (555) 123-4567", "phone"),
        ("call +1 555.123.4567.", "phone"),
        ("number 078-05-1120,", "social security number"),
        ("card 4111 1111 1111 1111.", "card number"),
        ("card 4111-1111-1111-1111", "card number"),
        ("card 4111111111111111", "card number"),
        ("card 3782 822463 10005", "card number"),
        ("account DE89 3704 0044 0532 0130 00.", "IBAN"),
        ("account DE89370400440532013000", "IBAN"),
        ("account NO93 8601 1117 947", "IBAN"),
        ("account FR14 2004 1010 0505 0001 3M02 606", "IBAN"),
        ("account GB29 NWBK 6016 1331 9268 19", "IBAN"),
        ("host 192.168.10.1 was", "IP address"),
        ("host 255.255.255.255.", "IP address"),
    ],
)
def test_personal_data_are_found_once_and_masked_whole(text: str, kind: str) -> None:
    assert checks.personal(text) == {kind: 1}
    hidden = checks.masked(text)
    assert f"[{kind}]" in hidden
    assert not any(c.isdigit() for c in hidden) and "@" not in hidden
    assert checks.personal(hidden) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,874 patients and 12,500,000 records of 3.5 GB",
        "on 2011-01-01 and 12/31/2011",
        "between 2011-01-01 2012-02-02 and 2013-03-03",
        "the years 2009 2010 2011 2012",
        "from 2011-05-06T07:08:09.123456Z",
        "between 1,234 567 8901 and 10",
        "45 CFR 164.308(a)(1) and RFC 2616",
        "version 1.2.3 or 1.2.3.4.5 or 999.1.1.1",
        "order 123456789012345678901234567890",
        "a @ b, user@localhost, @mention",
        "IN 2011 DATA OF 1,874 WERE LOST FROM OFFICE",
        "FY11 DATA LOST FROM FILE ROOM AREA",
        "ISO 27001, HR12 and AB12 CD34",
    ],
)
def test_ordinary_numbers_are_no_personal_data(text: str) -> None:
    assert checks.personal(text) == {}
    assert checks.masked(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "1", "1 ", "1-", "a.", "a@", "a@a.", "a@a.-", "1.", "AB12 ", "A", "+", "(", "é "),
        TEXT,
    ],
)
def test_a_megabyte_is_looked_through_in_seconds(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    checks.personal(text)
    checks.masked(text)
    assert time.process_time() - start < 10


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
