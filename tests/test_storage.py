"""MLflow on PostgreSQL and S3, DVC on S3, by the commands of docs/storage.md."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import backends
import pytest
import standing
from test_smoke import OBJECTIVES

from shared import benchmark, provenance

pytestmark = pytest.mark.pipeline
PAGE = Path(__file__).parent.parent / "docs/storage.md"


class Place(NamedTuple):
    """Addresses of the database and of the object store, and the environment of its commands."""

    database: str
    store: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    own = {"PATH": f"{backends.storage()}:{os.environ['PATH']}"}
    folder = tmp_path_factory.mktemp("objects")
    with backends.postgres() as database, backends.objects(folder, "mlflow", "dvc") as store:
        yield Place(database, store, os.environ | backends.KEYS | own)


@pytest.fixture(scope="module")
def blueprint(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small blueprint after its pipeline; DVC keeps its exported model."""
    folder = tmp_path_factory.mktemp("storage")
    standing.write(folder, OBJECTIVES, tmp_path_factory.mktemp("store"))
    (folder / "dvc.lock").unlink()
    (folder / "dvc.yaml").write_text("stages: {export: {cmd: python -c 1, outs: [export]}}\n")
    run(["dvc", "commit", "--force"], folder, place.environment)
    return folder


def documented(program: str, number: int = 0) -> str:
    """A command of docs/storage.md, which begins with the program, with its lines joined."""
    text = PAGE.read_text().replace("\\\n", " ")
    return str(re.findall(rf"^    ({program} .*?)(?: {{3,}}#.*)?$", text, re.MULTILINE)[number])


@contextlib.contextmanager
def server(place: Place, log: Path) -> Iterator[dict[str, str]]:
    """MLflow's, by the command of docs/storage.md: what its clients have in their environment.

    Who trains has no key of the store: artifacts go through the server.
    """
    port = benchmark.free_port()
    command = documented("mlflow server")
    for of, here in {
        "postgresql://mlflow:PASSWORD@db.example.com/mlflow": place.database,
        "mlflow.example.com": f"127.0.0.1:{port}",
        "0.0.0.0": "127.0.0.1",
        "5000": str(port),
    }.items():
        assert of in command
        command = command.replace(of, here)
    own = place.environment | {"MLFLOW_S3_ENDPOINT_URL": place.store}
    url = f"http://127.0.0.1:{port}"
    program = shutil.which("mlflow", path=own["PATH"])
    words = [str(program), *command.split()[1:]]
    with benchmark.running(words, url + "/health", log, seconds=300, env=own):
        yield dict(os.environ) | {"MLFLOW_TRACKING_URI": url}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    program = shutil.which(command[0], path=environment["PATH"])
    done = subprocess.run(
        [str(program), *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_a_run_is_registered_promoted_and_there_after_a_restart(
    place: Place, blueprint: Path, tmp_path: Path
) -> None:
    tracking = [sys.executable, "-m", "shared.tracking"]
    with server(place, tmp_path / "log") as client:
        run([*tracking, "record"], blueprint, client)
        assert "version 1 is champion" in run([*tracking, "promote"], blueprint, client)
    tags = backends.rows(place.database, "SELECT key, value FROM model_version_tags")
    version = provenance.collect(blueprint)["model_version"]
    assert ["model_version", version] in tags
    query = "SELECT alias, version FROM registered_model_aliases ORDER BY 1"
    assert backends.rows(place.database, query) == [["challenger", "1"], ["champion", "1"]]
    stored = backends.sizes(place.store, "mlflow")
    model = blueprint / "export/model.json"
    assert [size for key, size in stored.items() if key.endswith("/model/model.json")] == [
        model.stat().st_size
    ]
    with server(place, tmp_path / "log") as client:
        (line,) = run([*tracking, "versions"], blueprint, client).strip().splitlines()[-1:]
        assert line.endswith(("challenger champion", "champion challenger"))
        wanted = ["-m", "mlflow", "artifacts", "download", "-u", "models:/demo@champion"]
        run([sys.executable, *wanted, "-d", str(tmp_path / "model")], blueprint, client)
    (found,) = (tmp_path / "model").rglob("model.json")
    assert found.read_bytes() == model.read_bytes()
    assert not (blueprint / "mlflow.db").exists(), "nothing stayed behind"


def dvc(place: Place, blueprint: Path, line: str) -> str:
    for of, here in {
        "s3://dvc.example.com": "s3://dvc",
        "https://s3.example.com": place.store,
    }.items():
        line = line.replace(of, here)
    return run(line.split(), blueprint, place.environment)


def test_data_and_models_are_pushed_and_pulled(place: Place, blueprint: Path) -> None:
    for number in range(2):
        dvc(place, blueprint, documented("dvc remote", number))
    dvc(place, blueprint, documented("dvc push"))
    assert backends.sizes(place.store, "dvc")
    shutil.rmtree(blueprint / ".dvc/cache")
    before = {path: path.read_bytes() for path in (blueprint / "export").iterdir()}
    assert before
    shutil.rmtree(blueprint / "export")
    dvc(place, blueprint, "dvc pull")
    assert {path: path.read_bytes() for path in (blueprint / "export").iterdir()} == before
    assert "Data and pipelines are up to date" in dvc(place, blueprint, "dvc status")
    assert "in sync" in dvc(place, blueprint, "dvc status --cloud")


def test_who_has_no_key_gets_nothing(place: Place) -> None:
    done = backends.asked(backends.SIZES, place.store, "dvc", AWS_SECRET_ACCESS_KEY="guessed")
    assert done.returncode and "SignatureDoesNotMatch" in done.stderr
