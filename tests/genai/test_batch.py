"""Files of texts: each row keeps its keys, broken ones say why, and a stopped run goes on."""

import json
from pathlib import Path
from typing import Any

import batch
import jsonschema
import pytest

from genai.documents import NESTED

GOOD = {"input": "A laptop was stolen.", "case": "ä", "more": [1, None]}
BROKEN = [
    (b'{"input": "cut', "not JSON"),
    (b"[1]", "no text under"),
    (b'{"input": 3}', "no text under"),
    (b'{"input": "  "}', "is empty"),
    (b"[" * 100_000, "not JSON"),
    (b'{"input": "\xff"}', "not JSON"),
]


def write(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(b"\n".join(rows) + b"\n")
    return path


def test_rows_keep_their_keys_and_broken_ones_say_why(tmp_path: Path, predictor: Any) -> None:
    rows = [b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), *(line for line, _ in BROKEN), b" "]
    given, result = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    assert batch.run(given, result, predictor) == (1 + len(BROKEN), len(BROKEN))
    found = [json.loads(line) for line in result.read_text().splitlines()]
    assert found[0]["case"] == "ä" and found[0]["more"] == [1, None]
    jsonschema.validate(found[0]["record"], NESTED)
    for row, (_, reason) in zip(found[1:], BROKEN, strict=True):
        assert row["record"] is None and reason in row["error"]
    assert list(tmp_path.iterdir()) == [given, result] or len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("torn", [b"", b'{"rec', b'{"record": null}'])
def test_a_stopped_run_goes_on(tmp_path: Path, predictor: Any, torn: bytes) -> None:
    rows = [json.dumps(GOOD | {"case": i}).encode() for i in range(4)]
    given, result = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    batch.run(given, result, predictor, "mark")
    whole = result.read_bytes()
    first = whole.splitlines(keepends=True)[:2]
    journal = tmp_path / "out.jsonl.journal"
    journal.write_bytes(batch._head("mark") + b"".join(first) + torn)
    result.unlink()
    assert batch.done(journal, "mark") == 2
    batch.run(given, result, predictor, "mark")
    assert result.read_bytes() == whole and not journal.exists()


def test_another_models_journal_is_not_taken_over(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.write_bytes(batch._head("old") + b'{"record": {}}\n')
    assert batch.done(journal, "new") == 0 and b"old" not in journal.read_bytes()


def test_the_model_reads_texts_masked_as_in_training(masks: Any, predictor: Any) -> None:
    given, hidden = "Write to jane@example.org, please.", "Write to [email], please."
    found = batch.answer(json.dumps({"input": given}).encode(), masks)
    assert found == batch.answer(json.dumps({"input": hidden}).encode(), predictor) | {
        "input": given
    }


def test_keys_of_an_answer_win_over_those_of_the_row(tmp_path: Path, predictor: Any) -> None:
    row = json.dumps({"input": "Text.", "record": "mine", "confidence": "mine"}).encode()
    batch.run(write(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl", predictor)
    found = json.loads((tmp_path / "out.jsonl").read_text())
    jsonschema.validate(found["record"], NESTED)
    assert 0 <= found["confidence"] <= 1 and found["cut"] is False
