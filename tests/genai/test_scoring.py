"""Scores: what counts as right, what as a refusal, and confidence that is what it says."""

from typing import Any

import numpy as np
import pytest
import scoring

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "places": {"type": "array", "items": {"enum": ["a", "b"]}},
        "story": {"type": ["string", "null"]},
    },
    "required": ["people", "places", "story"],
    "additionalProperties": False,
}
TRUE: dict[str, Any] = {"people": 5, "places": ["a", "b"], "story": "a red box"}
NULLS: dict[str, Any] = {"people": None, "places": [], "story": None}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "no",
        '{"a": 1',
        "{'a': 1}",
        '{"a": 1}{',
        "[" * 200_000,
        '{"a": 1' + "0" * 9999 + "}",
    ],
)
def test_what_is_no_json_is_none(text: str) -> None:
    assert scoring.parsed(text) is None


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_words_for_no_number_are_no_json(word: str) -> None:
    assert scoring.parsed(word) is None
    assert scoring.parsed(f'{{"people": {word}}}') is None


@pytest.mark.parametrize("text", ["null", "5", '"a"', "[1]", ' {"a": null}\n'])
def test_json_is_read(text: str) -> None:
    assert scoring.parsed(text) in (None, 5, "a", [1], {"a": None})
    assert (scoring.parsed(text) is None) == (text == "null")


def test_perfect_answers_have_perfect_scores() -> None:
    found = scoring.score([TRUE, NULLS], [TRUE, NULLS], SCHEMA)
    assert found["exact_match"] == found["record_exact_match"] == found["valid_json"] == 1
    assert set(found["field_exact_match"]) == set(SCHEMA["properties"])
    assert found["token_f1"] == {"story": 1}
    assert found["refusals"] == {"share": 0.5, "true_share": 0.5, "precision": 1, "recall": 1}


@pytest.mark.parametrize("wrong", [None, [], "text", 5, True, [TRUE]])
def test_what_is_no_record_is_right_nowhere_and_refuses_nothing(wrong: Any) -> None:
    found = scoring.score([wrong], [NULLS], SCHEMA)
    assert found["exact_match"] == found["record_exact_match"] == found["valid_json"] == 0
    assert found["token_f1"] == {"story": 0}
    assert found["refusals"] == {"share": 0, "true_share": 1, "recall": 0}


def test_a_missing_field_is_null_and_breaks_the_schema() -> None:
    found = scoring.score([{"people": 5}], [TRUE], SCHEMA)
    assert found["field_exact_match"] == {"people": 1, "places": 0, "story": 0}
    assert found["exact_match"] == pytest.approx(1 / 3)
    assert found["record_exact_match"] == found["valid_json"] == 0
    assert found["refusals"] == {"share": 0.5, "true_share": 0, "precision": 0}


def test_the_order_of_a_list_does_not_count_and_the_words_of_a_text_do() -> None:
    answer = TRUE | {"places": ["b", "a"], "story": "a red car"}
    found = scoring.score([answer], [TRUE], SCHEMA)
    assert found["field_exact_match"] == {"people": 1, "places": 1, "story": 0}
    assert found["token_f1"]["story"] == pytest.approx(2 / 3)
    assert found["record_exact_match"] == 0


@pytest.mark.parametrize("people", [5.0, "5", True, [5]])
def test_a_number_in_another_type_is_right_only_if_it_is_one(people: Any) -> None:
    found = scoring.score([TRUE | {"people": people}], [TRUE], SCHEMA)
    assert found["field_exact_match"]["people"] == (people == 5.0)
    assert found["valid_json"] == (people == 5.0)


def test_a_schema_without_null_or_text_has_no_scores_of_them() -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}}
    found = scoring.score([{"kind": "a"}, None], [{"kind": "a"}, {"kind": "b"}], schema)
    assert found["refusals"] == {} and "token_f1" not in found
    assert found["exact_match"] == 0.5


def test_fields_inside_an_object_are_scored_one_by_one() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"o": inner}}
    answers = [{"o": {"a": 1, "b": 3}}, {"o": None}, {"o": [1]}]
    found = scoring.hits(answers, [{"o": {"a": 1, "b": 2}}] * 3, schema)
    assert {name: hit.tolist() for name, hit in found.items()} == {
        "o.a": [True, False, False],
        "o.b": [False, False, False],
    }


def test_answers_and_truths_must_be_as_many_and_some() -> None:
    with pytest.raises(ValueError):
        scoring.score([TRUE], [TRUE, TRUE], SCHEMA)
    with pytest.raises(ValueError, match="no answers"):
        scoring.score([], [], SCHEMA)


@pytest.mark.parametrize("bins", [1, 2, 5, 100])
@pytest.mark.parametrize("order", [1, -1])
def test_a_constant_confidence_is_off_by_its_distance_from_the_mean(bins: int, order: int) -> None:
    right = np.array([True] * 6 + [False] * 4)[::order]
    for sure, gap in ((0.6, 0), (0.9, 0.3), (0.0, 0.6), (1.0, 0.4)):
        found = scoring.calibration(np.full(10, sure), right, bins)
        assert found == pytest.approx(gap, abs=1e-12)


def test_calibration_does_not_depend_on_the_order_of_records() -> None:
    generator = np.random.default_rng(0)
    sure = generator.choice([0.1, 0.4, 0.4, 0.8, 0.95], 57)
    right = generator.random(57) < sure
    before = scoring.calibration(sure, right, 5)
    for _ in range(5):
        order = generator.permutation(57)
        assert scoring.calibration(sure[order], right[order], 5) == pytest.approx(before)


def test_calibration_is_the_mean_gap_of_bins_of_equal_size() -> None:
    sure = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    right = np.array([False, False, True, True, True, False])
    assert scoring.calibration(sure, right, 2) == pytest.approx((0.4 + 0.4) / 6)
    assert scoring.calibration(sure, sure > 0.5, 6) == pytest.approx(0.2)
    assert scoring.calibration(np.array([0.25]), np.array([True]), 5) == pytest.approx(0.75)


def test_honest_confidences_are_calibrated_and_boasting_ones_are_not() -> None:
    sure = np.random.default_rng(1).random(20_000)
    right = np.random.default_rng(2).random(20_000) < sure
    assert scoring.calibration(sure, right, 10) < 0.02
    assert scoring.calibration(np.sqrt(sure), right, 10) > 0.1


def test_the_interval_holds_the_mean_and_is_the_same_again() -> None:
    values = np.array([True, False, True, True] * 25)
    low, high = scoring.interval(values, 0)
    assert low < 0.75 < high and high - low < 0.25
    assert scoring.interval(values, 0) == [low, high]
    assert scoring.interval(np.ones(7), 3) == [1, 1]


def test_a_number_beyond_all_is_no_json() -> None:
    assert scoring.parsed('{"x": 1e999}') is None
