"""Workflows call what exists, on every blueprint and target, with fixed actions and few rights."""

import json
import os
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import images

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github").glob("*/*.yml")) + sorted((ROOT / ".github").glob("*/*/*.yml"))
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text()) for path in FILES if "jobs:" in path.read_text()
}
BLUEPRINTS = sorted(path.name for path in (ROOT / "blueprints").iterdir() if path.is_dir())
CHANGED = runpy.run_path(str(ROOT / ".ci/changed.py"))
NOTES = runpy.run_path(str(ROOT / ".ci/notes.py"))
# Who may write, and what: everything else reads.
WRITES = {
    "release.image": {"packages", "id-token", "attestations"},
    "release.publish": {"contents", "id-token", "attestations"},
    "retrain.retrain": {"contents", "pull-requests"},
}


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{name}.{job}", content)
        for name, workflow in WORKFLOWS.items()
        for job, content in workflow["jobs"].items()
    ]


def test_there_are_four_workflows() -> None:
    assert set(WORKFLOWS) == {"check", "blueprints", "release", "retrain"}


def test_every_step_calls_a_make_target_that_exists() -> None:
    targets = " ".join(re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, job in jobs():
        for step in job["steps"]:
            for command in step.get("run", "").splitlines():
                words = command.removeprefix("sudo ").split(" >")[0].split()
                assert words[0] == "make", f"{name}: {command}"
                called = [word for word in words[1:] if "=" not in word and word[0] != "-"]
                assert called and set(called) <= set(targets.split()), f"{name}: {command}"


def test_actions_are_fixed_by_hash_each_at_one_version() -> None:
    found: dict[str, set[str]] = {}
    for path in FILES:
        for line in re.findall(r"uses: (.*)", path.read_text()):
            if not line.startswith("./"):
                match = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
                assert match, f"{path.name}: {line}"
                found.setdefault(match[1], set()).add(match[2])
    assert len(found) >= 8
    assert {action for action, versions in found.items() if len(versions) > 1} == set()


def test_jobs_have_no_more_rights_than_they_need() -> None:
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}, name
    for name, job in jobs():
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        assert writes == WRITES.get(name, set()), name
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_the_signing_key_is_given_to_one_step_before_the_files_are_attested() -> None:
    named = "${{ secrets.SIGNING_KEY }}"
    steps = WORKFLOWS["release"]["jobs"]["publish"]["steps"]
    (sign,) = [index for index, step in enumerate(steps) if "SIGNING_KEY" in str(step)]
    assert (steps[sign]["run"], steps[sign]["env"]) == ("make sign-release", {"SIGNING_KEY": named})
    attests = [index for index, step in enumerate(steps) if "attest" in step.get("uses", "")]
    releases = [index for index, step in enumerate(steps) if "make release " in str(step)]
    assert sign < min(attests) < min(releases)
    assert WORKFLOWS["release"]["jobs"]["publish"]["environment"] == "release"
    assert sum(path.read_text().count("SIGNING_KEY }}") for path in FILES) == 1


def sign(place: Path, key: str | None) -> "subprocess.CompletedProcess[str]":
    """As make does it, of the files in `place`."""
    environment = {"PATH": os.environ["PATH"]} | ({} if key is None else {"SIGNING_KEY": key})
    command = [str(ROOT / ".ci/sign"), *sorted(map(str, place.iterdir()))]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def generated(algorithm: str) -> str:
    command = ["openssl", "genpkey", "-algorithm", algorithm]
    return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)


def test_every_file_of_a_release_is_signed_as_the_documentation_checks_it(tmp_path: Path) -> None:
    (release := tmp_path / "release").mkdir()
    for name in ("a.tar.gz", "b.cdx.json"):
        (release / name).write_text(name)
    key = generated("ed25519")
    assert sign(release, key).returncode == 0
    public = tmp_path / "key.pub"
    public.write_text(subprocess.check_output(["openssl", "pkey", "-pubout"], input=key, text=True))
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    for name in ("a.tar.gz", "b.cdx.json"):
        done = [*check, "-in", release / name, "-sigfile", release / f"{name}.sig"]
        assert subprocess.run(done, check=False, stdout=subprocess.DEVNULL).returncode == 0
    (release / "a.tar.gz").write_text("other")
    done = [*check, "-in", release / "a.tar.gz", "-sigfile", release / "a.tar.gz.sig"]
    assert subprocess.run(done, check=False, stdout=subprocess.DEVNULL).returncode == 1


@pytest.mark.parametrize("key", [None, "", "no key", "ed448"])
def test_without_a_key_of_the_right_kind_nothing_is_signed(tmp_path: Path, key: str | None) -> None:
    (tmp_path / "a").write_text("a")
    done = sign(tmp_path, generated(key) if key == "ed448" else key)
    assert done.returncode == 1 and done.stderr
    if not key:
        assert "nothing is signed: SIGNING_KEY is empty" in done.stderr
    assert not (tmp_path / "a.sig").exists()


def test_what_is_released_comes_from_no_cache() -> None:
    for name, job in WORKFLOWS["release"]["jobs"].items():
        for step in job["steps"]:
            assert "actions/cache" not in step.get("uses", ""), name
            if step.get("uses") == "./.github/actions/setup":
                assert step["with"]["cache"] == "false", name


def test_every_blueprint_and_target_is_trained_built_and_released() -> None:
    assert json.loads(outputs("")["blueprints"]) == BLUEPRINTS
    for workflow, job in (("blueprints", "target"), ("release", "image")):
        matrix = matrix_of(workflow, job)
        assert matrix["target"] == list(images.TARGETS)
        assert matrix["runner"] == ["ubuntu-24.04", "ubuntu-24.04-arm"]
    for job in ("target", "standalone"):
        assert "fromJSON" in matrix_of("blueprints", job)["blueprint"]
    assert WORKFLOWS["blueprints"]["jobs"]["standalone"]["env"]["TARGET"] == "standalone"
    for workflow, job in (("release", "train"), ("release", "image"), ("retrain", "retrain")):
        assert sorted(matrix_of(workflow, job)["blueprint"]) == BLUEPRINTS, workflow


def matrix_of(workflow: str, job: str) -> dict[str, Any]:
    matrix: dict[str, Any] = WORKFLOWS[workflow]["jobs"][job]["strategy"]["matrix"]
    return matrix


def outputs(since: str) -> dict[str, str]:
    """What the workflow's step writes, as make runs it."""
    done = subprocess.run(
        ["make", "--silent", "changed", f"SINCE={since}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")},
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_without_a_change_nothing_runs_and_without_a_known_commit_everything() -> None:
    assert outputs("HEAD") == {"blueprints": "[]", "everything": "false"}
    for unknown in ("0" * 40, "c0ffee" * 6 + "c0ff"):
        assert outputs(unknown)["everything"] == "true"


@pytest.mark.parametrize(
    ("changed", "touched"),
    [
        (["blueprints/cv/train.py", "CHANGELOG.md"], ["cv"]),
        (["blueprints/rl/README.md", "tests/genai/test_train.py"], ["genai", "rl"]),
        (["docs/targets.md", "README.md", ".vscode/tasks.json"], []),
        (["blueprints/cv/train.py", "shared/serving.py"], BLUEPRINTS),
        (["tests/conftest.py"], BLUEPRINTS),
        (["requirements.lock"], BLUEPRINTS),
        ([".github/workflows/blueprints.yml"], BLUEPRINTS),
        (["blueprints/new/train.py"], BLUEPRINTS),
        ([], []),
        (None, BLUEPRINTS),
    ],
)
def test_a_change_of_one_blueprint_runs_one(changed: list[str] | None, touched: list[str]) -> None:
    assert CHANGED["touched"](changed) == touched


CHANGELOG = """# Changelog

## Unreleased

- new

## 0.2.0 (2026-11-01)

### Added

- b

## 0.1.0

- a
"""


def test_notes_of_a_release_are_its_section_of_the_changelog() -> None:
    assert NOTES["section"](CHANGELOG, "v0.2.0") == "### Added\n\n- b\n"
    assert NOTES["section"](CHANGELOG, "v0.1.0") == "- a\n"


@pytest.mark.parametrize("tag", ["v0.3.0", "v0.2", "v0x2.0", ""])
def test_a_release_without_notes_is_refused(tag: str) -> None:
    with pytest.raises(SystemExit, match="has no section"):
        NOTES["section"](CHANGELOG, tag)
