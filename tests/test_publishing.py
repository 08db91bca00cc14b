"""Images go to a registry, a real one on loopback; files of a release to a folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shipped

from shared import benchmark, engine, images, params, publishing, sbom

CHAIN = {"name": "demo", "bento": "demo:m1-p1"}
CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
PLATFORM = "linux/amd64"


@pytest.fixture
def packaged(folder: Path, document: dict[str, Any]) -> Path:
    shipped.write(folder, document)
    params.write_json(folder / "build/provenance.json", CHAIN)
    (folder / "dist/deploy/edge").mkdir(parents=True)
    (folder / "dist/demo.bento").write_bytes(b"bento")
    return folder


def test_a_release_has_the_bento_the_archive_and_the_lists(packaged: Path, tmp_path: Path) -> None:
    for target in images.TARGETS:
        with pytest.raises(SystemExit, match=f"make sbom B={packaged.name} TARGET={target}"):
            publishing.files(packaged, target, PLATFORM, tmp_path)
        (packaged / "dist" / sbom.file_name(target, PLATFORM)).write_text("{}")
    with pytest.raises(SystemExit, match=r"no archive demo-m1-p1.*make deploy-files"):
        publishing.files(packaged, "edge", PLATFORM, tmp_path)
    for name in ("demo-m1-p1.tar.gz", "demo-m1-p1.tar.gz.sha256", "demo.service"):
        (packaged / "dist/deploy/edge" / name).write_text(name)
    place = tmp_path / "release"
    for target in images.TARGETS:
        publishing.files(packaged, target, PLATFORM, place)
    assert sorted(path.name for path in place.iterdir()) == [
        "demo-m1-p1-cloud-amd64.cdx.json",
        "demo-m1-p1-edge-amd64.cdx.json",
        "demo-m1-p1.bento",
        "demo-m1-p1.tar.gz",
        "demo-m1-p1.tar.gz.sha256",
    ]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Debian's registry; Docker asks for no certificate on loopback."""
    if not shutil.which("docker-registry"):
        engine.install("docker-registry")
    port, config = str(benchmark.free_port()), tmp_path / "registry.yml"
    config.write_text(CONFIG.format(folder=tmp_path / "registry", port=port))
    command = ["docker-registry", "serve", str(config)]
    url = f"http://127.0.0.1:{port}/v2/"
    with benchmark.running(command, url, tmp_path / "registry.log"):
        yield f"127.0.0.1:{port}/Owner/repository"


def image(folder: Path, base: str) -> str:
    """An image as `make image` would name it."""
    name = images.tag(params.read_json(folder / "build/provenance.json"), "edge", PLATFORM)
    (folder / "content").write_text("content\n")
    (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY content /content\n")
    engine.docker("build", "--quiet", "--platform", PLATFORM, "--tag", name, str(folder))
    return name


@pytest.mark.container
def test_an_image_arrives_with_the_digest_that_is_told(packaged: Path, registry: str) -> None:
    engine.start()
    engine.works("image", "rm", "--force", "demo-edge:m1-p1-amd64")  # of a run that was cut off
    with pytest.raises(SystemExit, match=f"no image .*make image B={packaged.name} TARGET=edge"):
        publishing.push(packaged, "edge", PLATFORM, registry)
    name = image(packaged, "scratch")
    place, digest = publishing.push(packaged, "edge", PLATFORM, registry)
    assert place == registry.lower() + "/demo-edge"
    engine.docker("image", "rm", "--force", name, f"{place}:m1-p1-amd64")
    engine.docker("pull", "--quiet", f"{place}@{digest}")
    engine.docker("image", "rm", "--force", f"{place}@{digest}")


@pytest.mark.container
def test_an_image_on_a_base_that_was_made_here_stays_here(packaged: Path, registry: str) -> None:
    engine.start()
    local = ["build", "--quiet", "--tag", "demo-base:local", "--label", f"{publishing.LOCAL}=true"]
    (packaged / "Dockerfile").write_text("FROM scratch\nCOPY content /\n")
    (packaged / "content").write_text("content\n")
    engine.docker(*local, str(packaged))
    name = image(packaged, "demo-base:local")
    with pytest.raises(SystemExit, match="stays here"):
        publishing.push(packaged, "edge", PLATFORM, registry)
    engine.docker("image", "rm", "--force", name, "demo-base:local")


def test_each_command_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("push", "files"):
        monkeypatch.setattr("sys.argv", ["publishing", command, "--target", "edge"])
        with pytest.raises(SystemExit):
            publishing.main()
        assert "push needs --registry, files needs --folder" in capsys.readouterr().err


def test_the_label_that_keeps_an_image_here_is_that_of_the_base() -> None:
    assert f"LABEL {publishing.LOCAL}=true" in (engine.DEPLOY / "Dockerfile.base").read_text()
