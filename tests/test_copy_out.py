"""A stranger copies two folders out, brings other images, and gets a Bento that runs anywhere."""

import base64
import json
import re
import subprocess
import sys
import tarfile

import pytest
from copied import App, Server, edit, post, run

pytestmark = pytest.mark.pipeline


def test_own_images_go_through_by_configuration_alone(reproduced: App) -> None:
    folder, _ = reproduced
    report = json.loads((folder / "reports/validation.json").read_text())
    assert {problem["path"] for problem in report["problems"]} == {"one/empty.png", "one/cut.png"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"accuracy", "auc", "recall", "precision", "f1", "ece"} <= set(metrics["test"])
    assert metrics["test"]["auc"] > 0.8, "noughts and ones are easy to tell apart"
    export = json.loads((folder / "export.json").read_text())
    for kind in ("onnx_fp32", "onnx_int8"):
        assert {"max_abs_diff", "decision_agreement", "size_mb", "latency_p50_ms"} <= set(
            export[kind]
        )
    assert export["onnx_fp32"]["max_abs_diff"] < 1e-3
    assert export["onnx_int8"]["size_share"] < 0.3


def test_a_second_repro_changes_nothing(reproduced: App) -> None:
    before = (reproduced.folder / "dvc.lock").read_bytes()
    assert "up to date" in run(["dvc", "repro"], *reproduced)
    assert (reproduced.folder / "dvc.lock").read_bytes() == before


def test_the_bento_classifies_and_its_answer_leads_back_to_the_commit(
    server: Server, reproduced: App
) -> None:
    folder, environment = reproduced
    picture = next((folder.parent / "images/one").glob("*[0-9].png")).read_bytes()
    status, answer = post(server.url + "/classify", picture, "image/png")
    assert (
        status == 200 and answer["label"] in ("nought", "one") and 0 <= answer["probability"] <= 1
    )
    body = json.dumps({"image": base64.b64encode(picture).decode(), "heatmap": True}).encode()
    status, second = post(server.url + "/classify", body, "application/json")
    assert status == 200 and second["probability"] == answer["probability"] and second["heatmap"]
    chain = answer["provenance"]
    assert chain["git_commit"] == run(["git", "rev-parse", "HEAD"], folder, environment).strip()
    code = "from shared import provenance; print(provenance.collect()['pipeline'])"
    assert chain["pipeline"] == run(["python", "-c", code], folder, environment).strip()
    versions = run(["python", "-m", "shared.tracking", "versions"], folder, environment)
    assert answer["model_version"] in versions and "challenger" in versions


def test_nothing_shipped_is_a_pickle(reproduced: App) -> None:
    """Goal P6: the Bento's archive, the exported model and the registry's copy of it."""
    folder = reproduced.folder
    assert list(folder.rglob("mlruns/**/model_int8.onnx")), "the registry's copy is scanned"
    for place in ("dist", "build", "export", "mlruns"):
        found = run(
            [sys.executable, "-m", "picklescan", "--path", str(folder / place)], *reproduced
        )
        assert "Scanned files: 0" in found and "Infected files: 0" in found, found
        shipped = {path.suffix for path in (folder / place).rglob("*")}
        assert not shipped & {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npy"}, place


def test_no_key_is_in_what_is_shipped(reproduced: App) -> None:
    (bento,) = (reproduced.folder / "dist").glob("*.bento")
    with tarfile.open(bento) as archive:
        assert [name for name in archive.getnames() if "logs" in name or "secret" in name] == []


def test_nothing_exported_names_a_file_of_its_maker(reproduced: App) -> None:
    for model in (reproduced.folder / "export").glob("*.onnx"):
        assert b'.py"' not in model.read_bytes(), model.name  # as a trace quotes it


def test_an_objective_out_of_reach_stops_the_pipeline_in_one_line(reproduced: App) -> None:
    folder, environment = reproduced
    before = run(["python", "-m", "shared.tracking", "versions"], folder, environment)
    kept = (folder / "objectives.yaml").read_text()
    edit(
        folder / "objectives.yaml",
        lambda d: d["objectives"][0]["key_results"][0].update(at_least=1.5),
    )
    (folder / "build/provenance.json").unlink()  # without it `package` would run
    done = subprocess.run(
        ["dvc", "repro"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    told = r"gate: KR1 missed: test\.auc target >= 1\.5, measured [\d.]+"
    assert re.search(told, done.stdout + done.stderr)
    assert not (folder / "build/provenance.json").exists()
    assert run(["python", "-m", "shared.tracking", "versions"], folder, environment) == before
    (folder / "objectives.yaml").write_text(kept)
    run(["dvc", "repro"], folder, environment)


def test_nothing_reached_for_the_network(server: Server, reproduced: App) -> None:
    """Pipeline, tracking commands and service: every process noted its connections (OFFLINE)."""
    code = "import urllib.request as r; r.urlopen('http://example.invalid')"
    tried = subprocess.run(
        ["python", "-c", code], env=reproduced.environment, capture_output=True, text=True
    )
    log = reproduced.folder.parent / "offline.log"
    assert "no network: example.invalid" in tried.stderr, "the watch itself works"
    assert [line for line in log.read_text().splitlines() if "example.invalid" not in line] == []
