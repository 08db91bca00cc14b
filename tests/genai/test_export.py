"""What the predictor is told beside the graph: a packaged service has no params of training."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import export
import pytest
import yaml

from shared import params
from shared.guards import BadInput


@pytest.mark.parametrize("personal", ["report", "mask"])
def test_an_export_says_whether_texts_were_masked(
    personal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"validate": {"personal_data": personal}, "evaluate": {"max_answer_tokens": 9}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    params.write_json(export.PREPARED / "meta.json", {"schema": {}})
    assert export.describe() == {"schema": {}, "max_answer_tokens": 9, "personal_data": personal}


def test_each_answer_is_timed_also_one_that_does_not_end() -> None:
    def answer(text: str) -> Any:
        time.sleep(0.2 if text == "long" else 0.01)
        if text == "long":
            raise BadInput("text", "does not end", 422)
        return SimpleNamespace(record={"text": text})

    predictor: Any = SimpleNamespace(answer=answer)
    found, times = export.predictions(predictor, ["a"] * 8 + ["long"])
    assert found == [{"text": "a"}] * 8 + [None]
    assert times.keys() == {"latency_p50_ms", "latency_p95_ms"}
    assert 10 <= times["latency_p50_ms"] < times["latency_p95_ms"]
    assert times["latency_p95_ms"] > 100
