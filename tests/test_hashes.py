"""What is installed into images is what was locked, to the byte."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shared import hashes, packaging

ROOT = Path(__file__).parent.parent
REQUIREMENTS = sorted(ROOT.glob("blueprints/*/requirements-[se][ed][rg]*.txt"))


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package without contents."""
    path, info = tmp_path / "wheels/demo-1.0-py3-none-any.whl", "demo-1.0.dist-info"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        packed.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr(f"{info}/RECORD", "")
    return path


def installed(wheel: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What pip says to a requirements file, with the wheel's folder as the only index."""
    requirements = wheel.parent.parent / "requirements.txt"
    requirements.write_text(text)
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--require-hashes"]
    command += ["--find-links", str(wheel.parent), "--target", str(wheel.parent.parent / "site")]
    return subprocess.run(
        [*command, "--requirement", str(requirements)], capture_output=True, text=True
    )


@pytest.mark.contract
@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_all_that_images_install_has_hashes(path: Path) -> None:
    pins = packaging.pinned(path)
    text = hashes.hashed(pins)
    assert [line.split()[0] for line in text.splitlines() if line[0] != " "] == pins
    assert text.count("--hash=sha256:") >= len(pins)


@pytest.mark.contract
def test_there_are_eight_files_and_no_address_in_the_hashes() -> None:
    assert len(REQUIREMENTS) == 8
    assert "://" not in hashes.FILE.read_text()


def test_what_has_no_hash_is_named_with_the_command(tmp_path: Path) -> None:
    file = tmp_path / "hashes.txt"
    file.write_text("known==1.0 \\\n    --hash=sha256:aa\n")
    with pytest.raises(SystemExit, match=r"no hash of new==2\.0 .*python -m shared\.hashes"):
        hashes.hashed(["known==1.0", "new==2.0"], file)


def test_pip_takes_what_is_as_it_was_and_refuses_one_changed_byte(
    wheel: Path, tmp_path: Path
) -> None:
    file = tmp_path / "hashes.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    file.write_text(f"demo==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{digest}\n")
    text = hashes.hashed(["demo==1.0", "demo==1.0"], file)
    done = installed(wheel, text)
    assert done.returncode == 0, done.stderr
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    done = installed(wheel, text)
    assert done.returncode == 1 and "DO NOT MATCH THE HASHES" in done.stderr


def test_hashes_of_a_copied_folder_are_those_of_what_is_installed(tmp_path: Path) -> None:
    requirements, file = tmp_path / "requirements-serve.txt", tmp_path / "hashes.txt"
    requirements.write_text("jinja2\n")
    hashes.write([requirements], file=file)
    assert list(hashes.known(file)) == packaging.pinned(requirements)
    ours = hashes.known()
    assert all(ours[pin] == found for pin, found in hashes.known(file).items())


def test_a_package_that_is_nowhere_ends_with_what_uv_says(tmp_path: Path) -> None:
    requirements, constraints = tmp_path / "requirements.txt", tmp_path / "constraints.txt"
    requirements.write_text("jinja2\n")
    constraints.write_text("jinja2==0.0.1.dev0\n")
    with pytest.raises(SystemExit, match=r"uv found no hashes:(.|\n)*jinja2"):
        hashes.write([requirements], constraints, tmp_path / "hashes.txt")
