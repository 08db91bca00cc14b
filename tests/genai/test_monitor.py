"""What is kept of texts and records: numbers and choices, and nothing personal."""

from pathlib import Path
from typing import Any

import monitor
import numpy as np
import pytest
import yaml

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
    found = monitor.features(text, [1, 2])
    assert found["odd_share"] == odd and set(found) == set(monitor.FEATURES)
    assert found["tokens"] == 2 and found["characters_per_token"] == max(len(text), 1) / 2


def test_no_tokens_are_no_error() -> None:
    assert monitor.features("", []) == {"tokens": 0, "characters_per_token": 1, "odd_share": 0}


def test_only_choices_are_kept_of_a_record() -> None:
    record = {"people": 1874, "name": "Jane Doe", "kind": "b", "places": ["b", "a", "b"]}
    record |= {"notes": ["Jane Doe"], "any": ["Jane Doe"], "open": {"flag": True}}
    found = monitor.kinds(record | {"either": "Jane Doe"}, SCHEMA)
    assert found["kind"] == ["b"] and found["places"] == ["a", "b"]
    assert found["open.flag"] == ["True"] and found["people"] == ["given"]
    for name in ("name", "notes", "any", "either"):
        assert found[name] == ["given"]
    assert "Jane" not in str(found) and "1874" not in str(found)


@pytest.mark.parametrize("record", [None, {}, "Jane", {"people": None, "open": None}])
def test_what_is_not_there_is_null(record: Any) -> None:
    assert set(map(str, monitor.kinds(record, SCHEMA).values())) == {"['null']"}


def test_an_answer_beside_the_choices_is_not_kept() -> None:
    found = monitor.kinds({"kind": "Jane Doe", "places": ["a", "Jane"]}, SCHEMA)
    assert found["kind"] == ["given"] and found["places"] == ["a", "given"]
    assert monitor.kinds({"places": "a", "open": {"flag": "Jane"}}, SCHEMA)["open.flag"] == [
        "given"
    ]


def test_shares_of_answers_are_shares_of_records() -> None:
    outputs = [{"kind": "a", "places": ["a", "b"]}, {"kind": "a", "places": ["a"]}, {"kind": None}]
    found = monitor.answer_mix(outputs, SCHEMA)
    assert found["kind"] == pytest.approx({"a": 2 / 3, "null": 1 / 3})
    assert found["places"] == pytest.approx({"a": 2 / 3, "b": 1 / 3, "null": 1 / 3})
    assert found["name"] == {"null": 1}


def test_deciles_hold_a_tenth_each_and_what_never_changes_has_one_edge() -> None:
    generator = np.random.default_rng(0)
    train = {"tokens": np.full(500, 7), "characters_per_token": generator.normal(4, 1, 500)}
    train["odd_share"] = np.where(np.arange(500) < 490, 0, 0.5)
    found = monitor.reference(train, [{"kind": "a"}], SCHEMA)
    assert found["profile"]["characters_per_token"]["shares"] == pytest.approx([0.1] * 10)
    assert found["profile"]["tokens"] == {"edges": [7], "shares": [0, 1]}
    for name in monitor.FEATURES:
        number = found["profile"][name]
        assert sum(number["shares"]) == pytest.approx(1)
        assert len(number["shares"]) == len(number["edges"]) + 1
    assert found["answers"]["kind"] == {"a": 1} and found["live_metrics"] == monitor.LIVE_METRICS


def test_live_key_results_name_metrics_that_the_monitor_declares() -> None:
    document = yaml.safe_load((Path(monitor.__file__).parent / "objectives.yaml").read_text())
    wanted = {
        result["metric"]
        for objective in document["objectives"]
        for result in objective["key_results"]
        if result["when"] == "live"
    }
    own = {"live.latency_p95_ms", "live.error_share"}
    assert wanted <= set(monitor.LIVE_METRICS) | own
