"""The secret scan of `make check` finds a key in the tree, and one that was removed again."""

import os
import re
import secrets
import string
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ROOT = Path(__file__).parent.parent


def scan(folder: Path) -> subprocess.CompletedProcess[str]:
    """The lines of the Makefile's target, in another repository."""
    makefile = (ROOT / "Makefile").read_text()
    (options,) = re.findall(r"^SECRETS := (.*)", makefile, re.MULTILINE)
    (lines,) = re.findall(r"^secrets: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    script = "set -e\n" + lines.replace("$(SECRETS)", options).replace("$$", "$")
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{kind}_NAME", "demo")
        monkeypatch.setenv(f"GIT_{kind}_EMAIL", "demo@example.org")
    git(tmp_path, "init", "--quiet")
    (tmp_path / "clean.py").write_text("print('nothing')\n")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, env=os.environ)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")


@pytest.fixture
def token() -> str:
    """Shaped as a token of GitHub's, known to nobody."""
    letters = string.ascii_letters + string.digits
    return "ghp_" + "".join(secrets.choice(letters) for _ in range(36))


def test_a_tree_without_secrets_passes(repository: Path) -> None:
    done = scan(repository)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_token_and_a_private_key_are_found_and_not_shown(repository: Path, token: str) -> None:
    (repository / "mine.py").write_text(f'TOKEN = "{token}"\n')
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (repository / "signing.pem").write_bytes(Ed25519PrivateKey.generate().private_bytes(*form))
    git(repository, "add", "--all")
    done = scan(repository)
    assert done.returncode != 0
    assert "mine.py" in done.stdout and "signing.pem" in done.stdout
    assert token not in done.stdout + done.stderr


def test_a_token_that_was_removed_again_is_found_in_the_history(
    repository: Path, token: str
) -> None:
    (repository / "mine.py").write_text(f'TOKEN = "{token}"\n')
    commit(repository)
    (repository / "mine.py").unlink()
    commit(repository)
    assert scan(repository).returncode != 0
