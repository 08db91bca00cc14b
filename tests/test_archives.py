"""The edge archive: the same from two builds, whole, safe to run, and it serves where it lies."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import shipped

from shared import archives, benchmark, container, deploying, hashes, packaging, params, smoke
from shared.tee import Tee

TOKEN = "0123456789"
UNITS = ["demo-forwarding.service", "demo-rollback.service", "demo-update.service", "demo.service"]
MISSING = 'raise ModuleNotFoundError("No module named bentoml")\n'


@pytest.fixture
def packaged(folder: Path, document: dict[str, Any]) -> Path:
    """The small blueprint, packaged; in place of the Bento, which nobody reads here, a file."""
    targets = {"edge": {"memory_mb": 150}}
    shipped.write(folder, document | {"targets": targets})
    packaging.assemble(folder, folder / "build")
    (folder / "dist").mkdir()
    (folder / "dist/demo.bento").write_bytes(b"")
    return folder


def written(packaged: Path) -> Path:
    (archive,) = deploying.write(packaged, "edge", "linux/amd64").glob("*.tar.gz")
    return archive


def unpacked(archive: Path, place: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    (folder,) = place.iterdir()
    return folder


@contextmanager
def served(folder: Path, python: str = sys.executable, **variables: str) -> Iterator[str]:
    """The unpacked folder, by its own `shared`, where nothing else of this project can be seen."""
    port, token = str(benchmark.free_port()), {"SERVICE_TOKEN": TOKEN}
    command = [python, "-m", "shared.edge", "--port", port]
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    url, log = f"http://127.0.0.1:{port}", folder / "served.log"
    with benchmark.running(
        command, url + "/readyz", log, cwd=folder / "service", env=own | token | variables
    ):
        yield url


def test_two_builds_have_the_same_bytes(packaged: Path) -> None:
    first = archives.sha256(written(packaged))
    for path in (packaged / "build").rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    (packaged / "build/logs").mkdir()
    (packaged / "build/logs/requests-1-1.jsonl").write_text("{}\n")
    (packaged / "build/__pycache__").mkdir()
    (packaged / "build/__pycache__/service.pyc").write_bytes(b"x")
    assert archives.sha256(written(packaged)) == first
    (packaged / "build/predictor.py").write_text("changed = True\n")
    assert archives.sha256(written(packaged)) != first


def test_every_file_is_in_the_sums_that_sha256sum_checks(packaged: Path, tmp_path: Path) -> None:
    archive = written(packaged)
    check = ["sha256sum", "--check", "--strict", "--quiet"]
    subprocess.run([*check, f"{archive.name}.sha256"], cwd=archive.parent, check=True)
    folder = unpacked(archive, tmp_path / "opt")
    subprocess.run([*check, archives.SUMS], cwd=folder, check=True)
    listed = {line.split("  ")[1] for line in (folder / archives.SUMS).read_text().splitlines()}
    assert listed == set(archives.hashes(folder)) - {archives.SUMS}
    assert {"service/service.py", "service/export/model.json", "demo.service"} <= listed
    (folder / "service/export/model.json").write_text("9\n")
    done = subprocess.run([*check, archives.SUMS], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 1 and b"service/export/model.json" in done.stdout


def test_it_has_exact_versions_and_nothing_that_was_not_packaged(
    packaged: Path, tmp_path: Path
) -> None:
    folder = unpacked(written(packaged), tmp_path / "opt")
    assert (
        folder.name == f"demo-{params.read_json(packaged / 'build/provenance.json')['bento'][5:]}"
    )
    pins = hashes.known(folder / "requirements.txt")
    assert all("==" in pin and digests for pin, digests in pins.items())
    assert not any("bentoml" in pin for pin in pins)
    names = set(archives.hashes(folder / "service"))
    there = set(archives.hashes(packaged / "build"))
    left = ("__pycache__", ".bentoignore")
    assert names == {name for name in there if not any(part in name for part in left)}
    modes = {path.stat().st_mode & 0o777 for path in archives.files(folder)}
    assert modes == {0o644}


def test_it_serves_from_an_empty_folder_as_the_package_does(packaged: Path, tmp_path: Path) -> None:
    folder = unpacked(written(packaged), tmp_path / "opt")
    (folder / "service/bentoml.py").write_text(MISSING)
    found = [sys.executable, "-c", "import shared; print(shared.__file__)"]
    where = subprocess.check_output(found, cwd=folder / "service", text=True)
    assert where.startswith(str(folder))
    shutil.rmtree(packaged / "export")
    with served(folder) as url, smoke.reference(packaged, TOKEN) as other:
        for number in (0.0, 1.5, -7.25):
            with Tee(url, other, TOKEN) as tee:
                body = b'{"number": %.2f}' % number
                assert tee.ask("/multiply", body)[1]["product"] == number * 3.25
                assert tee.differences == []
        chain = params.read_json(packaged / "build/provenance.json")
        assert container.request(url + "/info", TOKEN) == (200, chain)


@pytest.mark.pipeline
def test_it_needs_nothing_but_its_requirements(packaged: Path, tmp_path: Path) -> None:
    """In an environment that has them and nothing else, all that the units start does start."""
    folder = unpacked(written(packaged), tmp_path / "opt")
    python = str(folder / ".venv/bin/python")
    subprocess.run(["uv", "venv", "--quiet", folder / ".venv"], check=True)
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--python", python]
    subprocess.run([*install, "--requirement", folder / "requirements.txt"], check=True)
    with served(folder, python) as url:
        status, answer = container.request(url + "/multiply", TOKEN, b'{"number": 2}')
    assert status == 200 and answer["product"] == 6.5
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for name in ("updates", "selftest", "forwarding"):
        command = [python, "-m", f"shared.{name}", "--help"]
        subprocess.run(command, cwd=folder / "service", env=own, check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_units_and_finds_them_hardened(packaged: Path, tmp_path: Path) -> None:
    place = written(packaged).parent
    units = sorted(place.glob("*.service"))
    assert [unit.name for unit in units] == UNITS
    python = tmp_path / "opt/demo/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    for unit in units:
        checked = tmp_path / unit.name
        checked.write_text(unit.read_text().replace("/opt/demo", f"{tmp_path}/opt/demo"))
        for command in (["verify"], ["security", "--offline=true", "--threshold=20"]):
            done = subprocess.run(
                ["systemd-analyze", *command, str(checked)],
                capture_output=True,
                text=True,
                check=False,
            )
            said = done.stdout + done.stderr
            assert done.returncode == 0 and "Unknown" not in said, said[-3000:]


def test_limits_are_those_of_the_objectives(packaged: Path) -> None:
    unit = (written(packaged).parent / "demo.service").read_text()
    # 150 MB, once more while models are exchanged, and eight bodies of 0.1 MB
    assert "MODEL_POINTER=" in unit and "MemoryMax=287M\n" in unit
    assert "TimeoutStopSec=30\n" in unit
    for line in (
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "Restart=always",
        "StateDirectory=demo",
    ):
        assert f"\n{line}\n" in unit
