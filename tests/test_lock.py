"""requirements.lock resolves, with wheels, on every Python that is declared."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.pipeline
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_lock_resolves(version: str, tmp_path: Path) -> None:
    command = [
        "uv",
        "pip",
        "install",
        "--dry-run",
        "--python-version",
        version,
        "--target",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, "--requirements", str(ROOT / "requirements.lock")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Would install" in done.stderr, done.stderr
    names = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert {"torch", "bentoml", "mlflow", "dvc"} <= names
