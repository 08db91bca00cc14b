"""What windows of live requests say: drift beyond chance, what corrections left as it was."""

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import judged
import monitor
import numpy as np
import pandas as pd
import pytest
import traces
import traffic
import yaml
from records import Json

from shared import monitoring, objectives, params, requestids
from shared.keyresult import VALID_SHARE

FOLDER = Path(monitor.__file__).parent
SECRET = b"secret"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "people": {"type": ["integer", "null"]},
        "name": {"type": "string"},
        "kind": {"anyOf": [{"$ref": "#/$defs/kind"}, {"type": "null"}]},
        "places": {"type": "array", "items": {"$ref": "#/$defs/kind"}},
    },
    "$defs": {"kind": {"enum": ["a", "b"]}},
}


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
    assert found["profile"]["tokens"] == {"edges": [7], "shares": [0, 1], "rows": 500}
    for name in traces.FEATURES:
        number = found["profile"][name]
        assert sum(number["shares"]) == pytest.approx(1)
        assert len(number["shares"]) == len(number["edges"]) + 1
    assert found["answers"]["kind"] == {"a": 1} and found["examples"] == 1
    assert found["live_metrics"] == monitor.LIVE_METRICS


def test_live_key_results_name_metrics_that_the_monitor_declares() -> None:
    document = yaml.safe_load((FOLDER / "objectives.yaml").read_text())
    wanted = {
        result["metric"]
        for objective in document["objectives"]
        for result in objective["key_results"]
        if result["when"] == "live"
    }
    own = {"live.latency_p95_ms", "live.error_share", VALID_SHARE}
    assert wanted <= set(monitor.LIVE_METRICS) | own


def logged(record: Json, truth: Json | None = None, schema: Json = SCHEMA, **more: Any) -> Json:
    """A row as the monitor sees it: what the request log keeps, and the truth."""
    identity = requestids.new(SECRET)
    row = {"id": identity, "confidence": 0.5, "cut": False, "tokens": 100, "odd_share": 0.0}
    row |= {"characters_per_token": 5.0, **monitor.kept(record, schema, identity, SECRET)}
    return row | ({} if truth is None else {"truth": truth}) | more


def usual(tokens: np.ndarray, records: list[Json], schema: Json = SCHEMA) -> Json:
    same = np.full(len(tokens), 5.0)
    train = {"tokens": tokens, "characters_per_token": same, "odd_share": same * 0}
    return monitor.reference(train, records, schema)


def test_exact_match_is_the_mean_share_of_fields_that_were_left() -> None:
    said = {"people": 5, "name": "Jane", "kind": "a", "places": ["a", "b"]}
    truths = [said, said | {"places": ["b", "a"]}, said | {"people": 6, "kind": None}]
    rows = [logged(said, truth, tokens=i) for i, truth in enumerate(truths)]
    found = monitor.judge(rows, SECRET)
    assert found["live.exact_match"].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["live.correction_share"].value == pytest.approx(1 / 3)


def test_what_another_service_answered_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [logged({"people": 5}, {"people": 5}, tokens=i) for i in range(9)]
    found = monitor.judge(rows, b"other")
    assert all(math.isnan(estimate.value) for estimate in found.values())
    assert "SERVICE_SECRET" in capsys.readouterr().err
    del rows[0]["tags"]  # of a service before there were tags
    assert monitor.judge(rows, SECRET)["live.exact_match"].value == 1


def test_a_text_that_came_again_says_nothing_new() -> None:
    rows = [logged({"people": i}, {"people": 0}, confidence=i / 9) for i in range(9)]
    once, often = monitor.judge(rows, SECRET), monitor.judge(rows * 20, SECRET)
    assert often == once, "the error is not smaller for being told twenty times"
    profile = usual(np.arange(100), [{"people": 1}] * 100)
    model = {"schema": SCHEMA}
    assert monitor.measure(rows * 20, profile, model) == monitor.measure(rows, profile, model)


def test_drift_and_refusals_of_a_window() -> None:
    generator, model = np.random.default_rng(0), {"schema": SCHEMA}
    records = [{"people": int(i), "kind": "ab"[i % 2]} for i in range(100)]
    profile = usual(generator.integers(50, 250, 300), records)

    def window(low: int, high: int, **change: Any) -> dict[str, monitor.Estimate]:
        lengths = generator.integers(low, high, 100)
        rows = [
            logged(one | change, tokens=int(n), cut=bool(n > 320), confidence=generator.random())
            for one, n in zip(records, lengths, strict=True)
        ]
        return monitor.measure(rows, profile, model)

    same = window(50, 250)
    assert same["live.input_drift"].value == 0 == same["live.field_drift"].value
    assert same["live.refusal_share"].value == 0 == same["live.cut_share"].value
    assert window(300, 500)["live.input_drift"].value > 2
    assert window(300, 500)["live.cut_share"].value > 0.7
    refused = window(50, 250, people=None)
    assert refused["live.refusal_share"].value == 0.5, "of two fields that may be null"
    assert refused["live.field_drift"].value > 2


def test_texts_longer_by_one_and_a_half_spreads_are_seen_by_the_third_window_in_20_of_20_runs() -> (
    None
):
    """Goal M3."""
    generator, model = np.random.default_rng(0), {"schema": SCHEMA}
    records = [{"people": int(i), "kind": "ab"[i % 2]} for i in range(100)]
    profile = usual(generator.normal(300, 40, 2000), records)
    results = objectives.load(FOLDER / "objectives.yaml").key_results
    (drift,) = [one for one in results if one.metric == "live.input_drift"]

    def window(mean: float) -> monitor.Estimate:
        lengths = generator.normal(mean, 40, 100)
        rows = [logged(one, tokens=int(n)) for one, n in zip(records, lengths, strict=True)]
        return monitor.measure(rows, profile, model)["live.input_drift"]

    for run in range(20):
        assert judged.breach(drift, [window(300 + 1.5 * 40) for _ in range(3)]) == 3, run
        assert judged.breach(drift, [window(300) for _ in range(3)]) is None, run


def test_a_schema_without_null_has_no_refusals() -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}}}
    rows = [logged({"kind": "a"}, schema=schema)]
    profile = usual(np.arange(100), [{"kind": "a"}], schema)
    found = monitor.measure(rows, profile, {"schema": schema})
    assert math.isnan(found["live.refusal_share"].value)


def test_doubt_is_greatest_where_the_model_did_not_believe_itself() -> None:
    sure, unsure, unknown = ({"confidence": number} for number in (0.9, 0.2, None))
    assert monitor.doubt(sure) < monitor.doubt(unsure) < monitor.doubt(unknown) == 1


def breached(shift: str, number: int, answers: bool) -> dict[str, int]:
    """Live key result -> after how many windows of real traffic it is breached, if it is.

    answers: let the exported model answer; otherwise each record is the true one.
    """
    from predictor import Predictor

    if not (FOLDER / "export/model.onnx").exists():
        pytest.skip("needs what the pipeline makes: dvc repro")
    table = pd.read_parquet("data/prepared/examples.parquet")
    train, model = table[table["split"] == "train"], params.read_json("export/model.json")
    records, schema = [json.loads(text) for text in train["output"]], model["schema"]
    profile, predictor = monitor.reference(train, records, schema), Predictor()
    known: dict[str, tuple[Any, ...]] = {}

    def row(item: traffic.Item) -> Json:
        text = item.body["text"]
        if text not in known:
            answer = predictor.answer(text) if answers else None
            said = (answer.record, answer.confidence) if answer else (item.truth, 0.5)
            known[text] = (*said, predictor.prompt(text))
        record, confidence, prompt = known[text]
        more = {"confidence": confidence, "cut": prompt.cut, **prompt.features}
        return logged(record, item.truth, schema, **more)

    rows: Iterator[Json] = map(row, traffic.items(shift, seed=1))
    list(itertools.islice(rows, 17))  # windows begin anywhere
    windows = [list(itertools.islice(rows, 100)) for _ in range(number)]
    found = [monitor.measure(one, profile, model) | monitor.judge(one, SECRET) for one in windows]
    share = {VALID_SHARE: monitoring.Window(False, "m", 1, windows[0]).valid_share}
    return judged.breaches(FOLDER, [one | share for one in found])


def test_usual_reports_are_no_drift_and_letters_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    assert breached("none", 20, answers=False) == {}
    assert breached("letters", 4, answers=False) == {"KR5": 3}


@pytest.mark.long
def test_200_usual_windows_are_quiet_and_five_of_letters_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(FOLDER)
    assert breached("none", 200, answers=True) == {}
    found = breached("letters", 5, answers=True)
    assert set(found) == {"KR4", "KR5"} and max(found.values()) <= 5
