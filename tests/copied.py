"""A blueprint in a stranger's hands: copied out, with other data, offline.

`app` is the vision blueprint, copied, with an environment of its own, `reproduced` the same after
`dvc repro`, `server` the Bento from its archive. Other blueprints' tests build theirs from the
functions here.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import psutil
import pytest
import yaml
from PIL import Image

from shared import benchmark

ROOT = Path(__file__).parent.parent
SWITCHES = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "BENTOML_DO_NOT_TRACK", "DVC_NO_ANALYTICS")
# Python runs this at the start of each process: connections beyond this machine are noted, refused.
OFFLINE = """
import os, sys
LOCAL = ("127.", "::1", "::ffff:127.", "localhost", "0.0.0.0")
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        host = arguments[0] or "localhost"
        host = host if isinstance(host, str) else host.decode()
    else:
        return
    if host and not host.startswith(LOCAL) and host != os.uname().nodename:
        with open(os.environ["OFFLINE_LOG"], "a") as log:
            log.write(f"{event} {host} {sys.argv}\\n")
        raise OSError(f"no network: {host}")
sys.addaudithook(watch)
"""


class App(NamedTuple):
    """A copied-out folder and the environment variables its commands run with."""

    folder: Path
    environment: dict[str, str]


class Server(NamedTuple):
    """A running service: its address, its processes' parent, its log."""

    url: str
    process: psutil.Process
    log: Path


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def own_images(folder: Path) -> None:
    """Noughts and ones of scikit-learn (real scans), a folder per class, two files broken."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for i, (picture, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if digit in (0, 1):
            path = folder / {0: "nought", 1: "one"}[digit] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture * 15).astype("uint8")).resize((48, 48)).save(path)
    (folder / "one/empty.png").write_bytes(b"")
    (folder / "one/cut.png").write_bytes(
        next((folder / "one").glob("*[0-9].png")).read_bytes()[:100]
    )


def adapt(app: Path, images: Path) -> None:
    """Other data, a short run and thresholds of this folder's own, by configuration alone."""
    parameters = yaml.safe_load((app / "params.yaml").read_text())
    parameters["ingest"] |= {"source": str(images), "positive": "one"}
    parameters["prepare"] |= {"image_size": 64}
    parameters["validate"] |= {"near_duplicate_bits": 0}
    parameters["train"] |= {"epochs": 1, "batch_size": 16}
    (app / "params.yaml").write_text(yaml.safe_dump(parameters))
    open_gate(app)


def open_gate(app: Path) -> None:
    """Thresholds of this folder's own, which any model reaches, and no times: tests run beside
    each other. Budgets of size and memory stay."""
    document = yaml.safe_load((app / "objectives.yaml").read_text())
    for objective in document["objectives"]:
        for result in objective["key_results"]:
            if result["when"] == "release":
                result |= {"at_least": -1} if "at_least" in result else {"at_most": 1e9}
    for budget in document["targets"].values():
        del budget["ready_s"]
        budget.pop("latency_p95_ms", None)
    (app / "objectives.yaml").write_text(yaml.safe_dump(document))


def copy_out(name: str, base: Path, install: list[str]) -> App:
    """Two `cp -r` and an installation in a fresh virtual environment; the network is still there.

    They copy from a tree as it is after `git clone`: without what pipelines made, and with the
    changes that are not committed yet.

    install: the command that installs requirements.txt, as a reader of the README would.
    """
    folder, clone = base / "app", base / "clone"
    ours = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for path in run([*ours, f"blueprints/{name}", "shared"], ROOT, dict(os.environ)).split():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, clone / path)
    for part, target in ((f"blueprints/{name}", folder), ("shared", folder / "shared")):
        run(["cp", "-r", part, str(target)], clone, dict(os.environ))
    shutil.rmtree(clone)  # nothing may be read from there
    keep = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "VIRTUAL_ENV", *SWITCHES)
    }
    environment = keep | {"BENTOML_HOME": str(base / "bentoml")}
    run([sys.executable, "-m", "venv", str(base / "venv")], base, environment)
    environment["PATH"] = f"{base / 'venv/bin'}:{environment['PATH']}"
    environment["VIRTUAL_ENV"] = str(base / "venv")
    run([*install, "--quiet", "--requirement", "requirements.txt"], folder, environment)
    return App(folder, environment)


def cut_off(app: App) -> App:
    """The folder as a git repository with one commit, and without a network from now on."""
    base = app.folder.parent
    (base / "offline").mkdir()
    (base / "offline/sitecustomize.py").write_text(OFFLINE)
    watched = {"PYTHONPATH": str(base / "offline"), "OFFLINE_LOG": str(base / "offline.log")}
    app = App(app.folder, app.environment | watched)
    run(["git", "init", "-q"], *app)
    run(["git", "add", "-A"], *app)
    run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.invalid", "commit", "-qm", "start"], *app
    )
    return app


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """The vision blueprint with scans of digits; its gigabytes come from uv's cache."""
    base = tmp_path_factory.mktemp("copy")
    copied = copy_out("cv", base, ["uv", "pip", "install"])
    own_images(base / "images")
    adapt(copied.folder, base / "images")
    return cut_off(copied)


@pytest.fixture(scope="session")
def reproduced(app: App) -> App:
    run(["dvc", "repro"], *app)
    return app


@contextlib.contextmanager
def serving(
    app: App, empty: Path, change: Callable[[Path], None] | None = None, **variables: str
) -> Iterator[Server]:
    """The Bento from its archive, in an empty folder, without the repository on the path.

    change: what is done to its `src` before it starts.
    """
    (bento,) = (app.folder / "dist").glob("*.bento")
    with tarfile.open(bento) as archive:
        archive.extractall(empty, filter="data")
    if change:
        change(empty / "src")
    log = empty.parent / f"{empty.name}.log"
    port = benchmark.free_port()
    command = [
        str(app.folder.parent / "venv/bin/bentoml"),
        "serve",
        str(empty),
        "--port",
        str(port),
    ]
    url = f"http://127.0.0.1:{port}"
    with benchmark.running(
        command, url + "/readyz", log, cwd=empty, env=app.environment | variables
    ) as process:
        yield Server(url, psutil.Process(process.pid), log)


@pytest.fixture(scope="session")
def server(reproduced: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(reproduced, tmp_path_factory.mktemp("empty")) as started:
        yield started


def post(url: str, body: bytes, kind: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, body, {"content-type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def edit(path: Path, change: Any) -> None:
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))


def service(folder: Path) -> ModuleType:
    """service.py of a folder, which loads the model there; logs go below the working directory."""
    given = importlib.util.spec_from_file_location("service_of_a_copy", folder / "service.py")
    assert given and given.loader
    module = importlib.util.module_from_spec(given)
    given.loader.exec_module(module)
    return module
