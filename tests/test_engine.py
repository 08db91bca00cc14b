import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import engine


def command(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


NEW = """case $1 in --version) echo "Docker version 28.2.2, build x";; *) exit 1;; esac"""
OLD = NEW.replace("28.2.2", "20.10.24+dfsg1")
# "rest" is what it does beyond saying its version and having the plugin
PLUGIN = NEW.replace("*) exit 1", "buildx) ;; *) rest")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for commands; it and one more are all of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    monkeypatch.setenv("ENGINE_FOLDER", str(tmp_path / "engine"))
    engine.client.cache_clear()
    yield tmp_path
    engine.client.cache_clear()


def test_a_client_without_the_plugin_that_builds_is_passed_over(path: Path) -> None:
    command(path / "first", "docker", NEW)
    command(path / "second", "docker", OLD)
    assert engine.client() == str(path / "second/docker")


def test_the_first_client_that_can_build_is_taken(path: Path) -> None:
    command(path / "first", "docker", PLUGIN.replace("rest", ""))
    command(path / "second", "docker", OLD)
    assert engine.client() == str(path / "first/docker")


def test_clients_that_cannot_build_are_named(path: Path) -> None:
    command(path / "first", "docker", NEW)
    with pytest.raises(SystemExit, match=f"tried: {path / 'first/docker'}"):
        engine.client()


def test_an_engine_that_answers_is_used(path: Path) -> None:
    command(path / "first", "docker", PLUGIN.replace("rest", ""))
    command(path / "first", "dockerd", f": > {path}/started")
    engine.start()
    assert not (path / "started").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts an engine")
def test_several_processes_start_one_engine(path: Path) -> None:
    answers = f"case $1 in --version) echo Docker version 20;; info) test -s {path}/started;; esac"
    command(path / "first", "docker", answers)
    command(path / "first", "dockerd", f"echo x >> {path}/started; exec /bin/sleep 5")
    script = "from shared import engine; engine.start()"
    begun = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait() for process in begun] == [0, 0, 0, 0]
    assert (path / "started").read_text() == "x\n"


def test_who_is_not_root_is_told_to_start_an_engine(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="start one, or run this as root"):
        engine.start()


def test_an_engine_that_does_not_start_shows_its_log(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(path / "first", "docker", OLD)
    command(path / "first", "dockerd", "echo no cgroups here; exit 1")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(engine, "STARTS_S", 0.5)
    with pytest.raises(SystemExit, match="no cgroups here"):
        engine.start()


def test_a_docker_command_that_fails_ends_with_its_code(path: Path) -> None:
    command(path / "first", "docker", PLUGIN.replace("rest", "test $1 != build"))
    with pytest.raises(SystemExit, match="docker build --tag x: exit code 1"):
        engine.docker("build", "--tag", "x")


@pytest.mark.parametrize(
    ("machine", "wanted"), [("x86_64", "amd64"), ("AMD64", "amd64"), ("aarch64", "arm64")]
)
def test_the_platform_is_that_of_the_machine(
    machine: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert engine.native() == f"linux/{wanted}"


@pytest.mark.parametrize("machine", ["riscv64", "armv7l", ""])
def test_a_machine_without_images_is_named_with_those_that_have_them(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(
        SystemExit, match=f"this machine is '{machine}'.*for, aarch64, amd64, arm64, x86_64"
    ):
        engine.native()


def test_a_base_image_that_is_there_is_not_pulled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "native", lambda: "linux/amd64")
    script = f'echo "$@" >> {path}/asked; test "$2" = inspect && echo amd64'
    command(path / "first", "docker", PLUGIN.replace("rest", script))
    assert engine.base_image("linux/amd64") == engine.BASE
    assert "pull" not in (path / "asked").read_text()


def test_a_base_image_of_another_platform_is_pulled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "native", lambda: "linux/amd64")
    script = f'echo "$@" >> {path}/asked; test "$2" = inspect && echo amd64 || test "$1" = pull'
    command(path / "first", "docker", PLUGIN.replace("rest", script))
    assert engine.base_image("linux/arm64") == engine.BASE
    assert "pull --quiet --platform linux/arm64" in (path / "asked").read_text()


PINNED = f"{engine.BASE}@sha256:{'1' * 64}"


@pytest.mark.parametrize("answers", ["image", "pull"])
def test_a_digest_in_the_dockerfile_is_taken_and_no_other_of_its_tag(
    path: Path, monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    """answers: is it here, or is it to be had?"""
    monkeypatch.setattr(engine, "reference", lambda: PINNED)
    monkeypatch.setattr(engine, "native", lambda: "linux/amd64")
    script = (
        f'echo "$@" >> {path}/asked; case "$*" in {answers}*{PINNED}) echo amd64;; *) exit 1;; esac'
    )
    command(path / "first", "docker", PLUGIN.replace("rest", script))
    assert engine.base_image("linux/amd64") == PINNED
    assert ("pull" in (path / "asked").read_text()) == (answers == "pull")


def test_without_a_registry_what_was_made_here_stands_for_the_digest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "reference", lambda: PINNED)
    monkeypatch.setattr(engine, "native", lambda: "linux/amd64")
    script = f'case "$*" in image*{engine.BASE}) echo amd64;; *) exit 1;; esac'
    command(path / "first", "docker", PLUGIN.replace("rest", script))
    assert engine.base_image("linux/amd64") == engine.BASE


def test_all_dockerfiles_name_the_same_base() -> None:
    texts = [file.read_text() for file in engine.DEPLOY.glob("Dockerfile.*")]
    named = {line for text in texts for line in text.splitlines() if "ARG BASE_IMAGE=" in line}
    assert named == {f"ARG BASE_IMAGE={engine.reference()}"}
    assert engine.reference().partition("@")[0] == engine.BASE
