"""Editor, dev container, hooks, templates and the update bot: files that nothing else reads."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import images

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parent.parent
BLUEPRINTS = sorted(path.name for path in (ROOT / "blueprints").iterdir() if path.is_dir())
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(" ".join(re.findall(r"^([a-z -]+):", MAKEFILE, re.MULTILINE)).split())


def read(name: str) -> Any:
    return json.loads((ROOT / name).read_text())


def made(command: str) -> set[str]:
    """The make targets of a command."""
    words = command.removeprefix("sudo ").removeprefix("make ").split()
    return {word for word in words if "=" not in word}


def test_the_editor_shows_every_dvc_project() -> None:
    projects = read(".vscode/settings.json")["dvc.focusedProjects"]
    assert sorted(projects) == [f"blueprints/{name}" for name in BLUEPRINTS]
    assert all((ROOT / project / ".dvc/config").exists() for project in projects)
    assert "iterative.dvc" in read(".vscode/extensions.json")["recommendations"]


def test_the_editors_tasks_are_make_targets() -> None:
    tasks = read(".vscode/tasks.json")
    choices = {choice["id"]: choice["options"] for choice in tasks["inputs"]}
    assert sorted(choices["blueprint"]) == BLUEPRINTS
    assert choices["target"] == list(images.EVERY)
    for task in tasks["tasks"]:
        assert task["command"].startswith("make ") and made(task["command"]) <= TARGETS
        assert set(re.findall(r"\$\{input:(\w+)\}", task["command"])) <= set(choices)


def test_the_dev_container_is_set_up_by_make() -> None:
    container = read(".devcontainer/devcontainer.json")
    for key in ("onCreateCommand", "postCreateCommand"):
        assert made(container[key]) and made(container[key]) <= TARGETS
    extensions = read(".vscode/extensions.json")["recommendations"]
    assert container["customizations"]["vscode"]["extensions"] == extensions
    assert "python:3.11" in container["image"]


def test_hooks_fetch_nothing_and_run_what_make_check_runs() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        tool = hook["entry"].split()[0]
        assert hook["language"] == "system" and tool.startswith(".venv/bin/")
        name = tool.rpartition("/")[2]
        assert re.search(rf"^\t.*\b{name}(\s|$)", MAKEFILE, re.MULTILINE), name


def test_hooks_pass_on_what_is_committed() -> None:
    quick = ["ruff", "format", "hadolint", "zizmor", "workflows"]
    command = [str(ROOT / ".venv/bin/prek"), "run", "--all-files", *quick]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Passed") == len(quick), done.stdout


def test_an_issue_asks_for_each_blueprint() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    (where,) = [one for one in form["body"] if one.get("id") == "blueprint"]
    assert set(BLUEPRINTS) < set(where["attributes"]["options"])


def test_the_update_bot_knows_every_file_that_pins() -> None:
    rules = read("renovate.json")
    (pattern,) = rules["pip_requirements"]["managerFilePatterns"]
    names = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("blueprints/*/requirements*")]
    assert len(names) >= 12
    assert all(re.search(pattern.strip("/"), name) for name in names)
    (manager,) = rules["customManagers"]
    for file in ("Dockerfile.cloud", "Dockerfile.edge"):
        name = f"shared/deploy/{file}"
        assert any(re.search(one.strip("/"), name) for one in manager["managerFilePatterns"])
        wanted = manager["matchStrings"][0].replace("(?<", "(?P<")
        text, digest = (ROOT / name).read_text(), f"sha256:{'1' * 64}"
        for more, pinned in (("", None), (f"@{digest}", digest)):
            found = re.search(wanted, text.replace("3.11-slim", f"3.11-slim{more}", 1))
            assert found and found["depName"] == "python" and found["currentValue"] == "3.11-slim"
            assert found["currentDigest"] == pinned


def test_security_says_where_and_for_how_long() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert "12 months" in text and "Report a vulnerability" in text
    for link in re.findall(r"\]\((docs/[^)]+)\)", text):
        assert (ROOT / link).exists()
