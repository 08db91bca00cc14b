"""A stranger copies two folders out, brings other images, and gets a Bento that runs anywhere."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

pytestmark = pytest.mark.pipeline
ROOT = Path(__file__).parent.parent


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def own_images(folder: Path) -> None:
    """Handwritten noughts and ones of scikit-learn (real scans), a folder per class, two files of them broken."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i, (picture, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if digit in (0, 1):
            path = folder / {0: "nought", 1: "one"}[digit] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture * 15).astype("uint8")).resize((48, 48)).save(path)
    (folder / "one/empty.png").write_bytes(b"")
    (folder / "one/cut.png").write_bytes(next((folder / "one").glob("*[0-9].png")).read_bytes()[:100])


def adapt(app: Path, images: Path) -> None:
    """Other data, a small and short run, and thresholds of this folder's own: configuration alone."""
    parameters = yaml.safe_load((app / "params.yaml").read_text())
    parameters["ingest"] |= {"source": str(images), "positive": "one"}
    parameters["prepare"] |= {"image_size": 64}
    parameters["validate"] |= {"near_duplicate_bits": 0}
    parameters["train"] |= {"epochs": 1, "batch_size": 16}
    (app / "params.yaml").write_text(yaml.safe_dump(parameters))
    document = yaml.safe_load((app / "objectives.yaml").read_text())
    for objective in document["objectives"]:
        for result in objective["key_results"]:
            if result["when"] == "release":
                result |= {"at_least": -1} if "at_least" in result else {"at_most": 1e9}
    (app / "objectives.yaml").write_text(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    base = tmp_path_factory.mktemp("copy")
    folder = base / "app"
    ignore = shutil.ignore_patterns(
        "data",
        "models",
        "export",
        "plots",
        "build",
        "dist",
        "logs",
        "mlflow.db*",
        "mlartifacts",
        "cache",
        "tmp",
        "__pycache__",
        ".run.json",
        "checkpoint",
    )
    shutil.copytree(ROOT / "blueprints/cv", folder, ignore=ignore)
    shutil.copytree(ROOT / "shared", folder / "shared", ignore=ignore)
    keep = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = keep | {"BENTOML_HOME": str(base / "bentoml"), "PYTHONSAFEPATH": ""}
    run([sys.executable, "-m", "venv", str(base / "venv")], base, environment)
    environment["PATH"] = f"{base / 'venv/bin'}:{environment['PATH']}"
    run(["pip", "install", "--quiet", "--requirement", "requirements.txt"], folder, environment)
    own_images(base / "images")
    adapt(folder, base / "images")
    run(["git", "init", "-q"], folder, environment)
    run(["git", "add", "-A"], folder, environment)
    run(["git", "-c", "user.name=a", "-c", "user.email=a@b.invalid", "commit", "-qm", "start"], folder, environment)
    return folder, environment


@pytest.fixture(scope="module")
def reproduced(app: tuple[Path, dict[str, str]]) -> tuple[Path, dict[str, str]]:
    run(["dvc", "repro"], *app)
    return app


def test_own_images_go_through_by_configuration_alone(reproduced: tuple[Path, dict[str, str]]) -> None:
    folder, _ = reproduced
    report = json.loads((folder / "reports/validation.json").read_text())
    assert {problem["path"] for problem in report["problems"]} == {"one/empty.png", "one/cut.png"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"accuracy", "auc", "recall", "precision", "f1", "ece"} <= set(metrics["test"])
    assert metrics["test"]["auc"] > 0.8, "noughts and ones are easy to tell apart"
    export = json.loads((folder / "export.json").read_text())
    for kind in ("onnx_fp32", "onnx_int8"):
        assert {"max_abs_diff", "decision_agreement", "size_mb", "latency_p50_ms"} <= set(export[kind])
    assert export["onnx_fp32"]["max_abs_diff"] < 1e-3
    assert export["onnx_int8"]["size_share"] < 0.3


def test_a_second_repro_changes_nothing(reproduced: tuple[Path, dict[str, str]]) -> None:
    before = (reproduced[0] / "dvc.lock").read_bytes()
    assert "up to date" in run(["dvc", "repro"], *reproduced)
    assert (reproduced[0] / "dvc.lock").read_bytes() == before


@pytest.fixture(scope="module")
def server(reproduced: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Bento from its archive, in an empty folder, without the repository on the path."""
    folder, environment = reproduced
    empty = tmp_path_factory.mktemp("empty")
    with tarfile.open(folder / "dist/cell-inspection.bento") as archive:
        archive.extractall(empty, filter="data")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (empty / "server.log").open("w")
    process = subprocess.Popen(
        ["bentoml", "serve", str(empty), "--port", str(port)], cwd=empty, env=environment, stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url + "/readyz", timeout=5)
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (empty / "server.log").read_text()[-3000:]
            time.sleep(0.2)
    yield url
    process.terminate()
    process.wait(60)


def post(url: str, body: bytes, kind: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, body, {"content-type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_the_bento_classifies_and_its_answer_leads_back_to_the_commit(
    server: str, reproduced: tuple[Path, dict[str, str]]
) -> None:
    folder, environment = reproduced
    picture = next((folder.parent / "images/one").glob("*[0-9].png")).read_bytes()
    status, answer = post(server + "/classify", picture, "image/png")
    assert status == 200 and answer["label"] in ("nought", "one") and 0 <= answer["probability"] <= 1
    body = json.dumps({"image": base64.b64encode(picture).decode(), "heatmap": True}).encode()
    status, second = post(server + "/classify", body, "application/json")
    assert status == 200 and second["probability"] == answer["probability"] and second["heatmap"]
    chain = answer["provenance"]
    assert chain["git_commit"] == run(["git", "rev-parse", "HEAD"], folder, environment).strip()
    code = "from shared import provenance; print(provenance.collect()['pipeline'])"
    assert chain["pipeline"] == run(["python", "-c", code], folder, environment).strip()
    versions = run(["python", "-m", "shared.tracking", "versions"], folder, environment)
    assert answer["model_version"] in versions and "challenger" in versions


@pytest.mark.fault
def test_hostile_images_get_a_reason_and_the_service_lives(server: str) -> None:
    import io
    import struct
    import zlib

    def png(width: int, height: int) -> bytes:
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))

    def encoded(mode: str, kind: str, **given: Any) -> bytes:
        buffer = io.BytesIO()
        Image.effect_noise((200, 200), 50).convert(mode).save(buffer, kind, **given)
        return buffer.getvalue()

    frames = [Image.new("L", (20, 20), value) for value in (10, 200)]
    hostile = {
        "empty": (b"", "image/png"),
        "text": (b"hello", "image/png"),
        "truncated": (encoded("RGB", "JPEG")[:3000], "image/jpeg"),
        "huge header": (png(50_000, 50_000), "image/png"),
        "100 MB": (bytes(100_000_000), "image/png"),
        "CMYK": (encoded("CMYK", "JPEG"), "image/jpeg"),
        "animated": (encoded("P", "GIF", save_all=True, append_images=frames), "image/png"),
        "wrong type": (b"GIF89a", "image/gif"),
        "wrong JSON": (b'{"picture": 1}', "application/json"),
    }
    for name, (body, kind) in hostile.items():
        status, answer = post(server + "/classify", body, kind)
        assert 400 <= status < 500 and answer["error"] and answer["field"], name
    status, _ = post(server + "/classify", encoded("L", "PNG"), "image/png")
    assert status == 200


def edit(path: Path, change: Any) -> None:
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))


def test_an_objective_out_of_reach_stops_the_pipeline_in_one_line(reproduced: tuple[Path, dict[str, str]]) -> None:
    folder, environment = reproduced
    before = run(["python", "-m", "shared.tracking", "versions"], folder, environment)
    kept = (folder / "objectives.yaml").read_text()
    edit(folder / "objectives.yaml", lambda d: d["objectives"][0]["key_results"][0].update(at_least=1.5))
    done = subprocess.run(["dvc", "repro"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "gate: KR1 missed: test.auc target >= 1.5, measured" in done.stdout + done.stderr
    assert run(["python", "-m", "shared.tracking", "versions"], folder, environment) == before
    (folder / "objectives.yaml").write_text(kept)
    run(["dvc", "repro"], folder, environment)


@pytest.mark.fault
def test_a_killed_training_goes_on_and_ends_with_the_same_results(reproduced: tuple[Path, dict[str, str]]) -> None:
    folder, environment = reproduced
    edit(folder / "params.yaml", lambda values: values["train"].update(epochs=3))
    process = subprocess.Popen(["dvc", "repro", "evaluate"], cwd=folder, env=environment, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (folder / "checkpoint/epoch.safetensors").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, 9)
    process.wait()
    assert "goes on after epoch" in run(["dvc", "repro", "evaluate"], folder, environment)
    resumed = (folder / "metrics.json").read_bytes(), (folder / "models/model.safetensors").read_bytes()
    run(["dvc", "repro", "--single-item", "--force", "train"], folder, environment)
    run(["dvc", "repro", "--single-item", "--force", "evaluate"], folder, environment)
    assert resumed == ((folder / "metrics.json").read_bytes(), (folder / "models/model.safetensors").read_bytes())
