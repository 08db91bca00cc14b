"""A stranger copies two folders out, brings other texts and schemas, and gets a Bento."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from copied import App, Server, post, run

from genai.documents import NESTED, fresh, reviews, shorten

pytestmark = [pytest.mark.pipeline, pytest.mark.long]
REPORT = "A laptop with the records of 1,874 patients was stolen from the office of Acme Clinic."


def ask(server: Server, **question: Any) -> tuple[int, dict[str, Any]]:
    return post(server.url + "/extract", json.dumps(question).encode(), "application/json")


def test_nested_records_go_through_by_configuration_alone(extracted: App) -> None:
    folder, _ = extracted
    report = json.loads((folder / "reports/validation.json").read_text())
    assert len(report["problems"]) == 1 and "not JSON" in report["problems"][0]["why"]
    metrics = json.loads((folder / "metrics.json").read_text())
    names = {"holder.name", "holder.state", "loss.theft", "loss.media", "loss.people"}
    assert set(metrics["test"]["field_exact_match"]) == names
    assert metrics["test"]["valid_json"] == 1 and set(metrics["test"]["token_f1"]) == {
        "holder.name"
    }
    assert metrics["test"]["perplexity"] < metrics["baseline"]["untuned"]["perplexity"] / 2
    assert metrics["baseline"]["untuned"]["valid_json"] == 1
    assert {"exact_match", "valid_json"} <= set(metrics["baseline"]["regex"])
    export = json.loads((folder / "export.json").read_text())
    assert export["onnx_int4"]["valid_json"] == 1 and export["onnx_int4"]["same_tokens"] == 1
    assert export["onnx_int4"]["size_mb"] < 130 and export["torch"]["tokens_per_second"] > 0


def test_a_second_repro_changes_nothing(extracted: App) -> None:
    before = (extracted.folder / "dvc.lock").read_bytes()
    assert "up to date" in run(["dvc", "repro"], *extracted)
    assert (extracted.folder / "dvc.lock").read_bytes() == before


def test_the_bento_extracts_and_its_answer_leads_back_to_the_commit(
    extractor: Server, extracted: App
) -> None:
    status, found = ask(extractor, text=REPORT)
    assert status == 200 and found["ai_generated"] and 0 < found["confidence"] <= 1
    jsonschema.validate(found["record"], NESTED)
    chain = found["provenance"]
    assert chain["git_commit"] == run(["git", "rev-parse", "HEAD"], *extracted).strip()
    code = "from shared import provenance; print(provenance.collect()['pipeline'])"
    assert chain["pipeline"] == run(["python", "-c", code], *extracted).strip()
    versions = run(["python", "-m", "shared.tracking", "versions"], *extracted)
    assert found["model_version"] in versions and "challenger" in versions
    feedback = {"request_id": found["request_id"], "truth": found["record"]}
    body = json.dumps(feedback).encode()
    assert post(extractor.url + "/feedback", body, "application/json")[0] == 200


def test_a_stopped_batch_goes_on(extracted: App, tmp_path: Path) -> None:
    folder, environment = extracted
    texts = tmp_path / "texts.jsonl"
    rows = [json.dumps({"input": f"{REPORT} Case {i}.", "case": i}) for i in range(8)]
    texts.write_text("\n".join([*rows, '{"input": 1}', "", '{"case": "cut']) + "\n")
    run(["python", "batch.py", str(texts), "one.jsonl"], *extracted)
    process = subprocess.Popen(
        ["python", "batch.py", str(texts), "two.jsonl"], cwd=folder, env=environment
    )
    journal = folder / "two.jsonl.journal"
    while process.poll() is None and not (
        journal.exists() and journal.read_bytes().count(b"\n") > 2
    ):
        pass
    process.kill()
    process.wait()
    assert not (folder / "two.jsonl").exists() and journal.exists()
    assert "10 texts, 2 without a record" in run(
        ["python", "batch.py", str(texts), "two.jsonl"], *extracted
    )
    assert (folder / "one.jsonl").read_bytes() == (folder / "two.jsonl").read_bytes()
    found = [json.loads(line) for line in (folder / "one.jsonl").read_text().splitlines()]
    assert [row.get("case") for row in found[:8]] == list(range(8))
    for row in found[:8]:
        jsonschema.validate(row["record"], NESTED)
    assert "no text under" in found[8]["error"] and "not JSON" in found[9]["error"]


def test_a_choice_of_two_goes_through_by_configuration_alone(
    extracted: App, tmp_path: Path
) -> None:
    reviews(tmp_path / "reviews")

    def change(values: dict[str, Any]) -> None:
        shorten(values)
        values["ingest"] |= {"source": str(tmp_path / "reviews/examples.jsonl")}
        values["ingest"] |= {"schema": str(tmp_path / "reviews/schema.json")}
        values["model"]["base"] = str(extracted.folder / ".base/packaged")
        values["prepare"] |= {"instruction": "Is the review great or other?"}
        values["prepare"] |= {"stratify": "verdict"}
        values["evaluate"]["rules"] = [
            {"field": "verdict", "pattern": "great|love|best", "value": "great"}
        ]

    app = fresh(extracted, tmp_path / "app", change)
    run(["dvc", "repro", "gate"], *app)
    metrics = json.loads((app.folder / "metrics.json").read_text())
    assert set(metrics["test"]["field_exact_match"]) == {"verdict"}
    assert metrics["test"]["valid_json"] == 1 and metrics["test"]["exact_match"] >= 0.5
    assert not (app.folder / ".base").exists(), "a local folder is used where it lies"


def test_nothing_shipped_is_a_pickle(extracted: App) -> None:
    folder = extracted.folder
    for place in ("dist", "build", "export", "models", "mlruns"):
        scan = [sys.executable, "-m", "picklescan", "--path", str(folder / place)]
        found = run(scan, *extracted)
        assert "Infected files: 0" in found and "Suspicious globals: 0" in found, found
        shipped = {path.suffix for path in (folder / place).rglob("*")}
        assert not shipped & {".pkl", ".pickle", ".bin", ".pt", ".pth", ".npy"}, place


def test_nothing_reached_for_the_network(extractor: Server, extracted: App) -> None:
    """Pipeline, tracking and service: every process noted its connections."""
    log = extracted.folder.parent / "offline.log"
    assert not log.exists() or log.read_text() == ""
