"""Images go to a registry, a real one on loopback; files of a release to a folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
import shipped
import updating

from shared import archives, benchmark, engine, images, params, publishing, sbom

ROOT = Path(__file__).parent.parent
CHAIN = {"name": "demo", "bento": "demo:m1-p1", "model_version": "m1"}
MODEL = {"type": "machine-learning-model", "version": "m1"}
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
        path = packaged / "dist" / sbom.file_name(target, PLATFORM)
        params.write_json(path, {"components": [MODEL | {"version": "m0"}]})
        with pytest.raises(SystemExit, match=f"is of model m0, .*make sbom B={packaged.name}"):
            publishing.files(packaged, target, PLATFORM, tmp_path)
        params.write_json(path, {"components": [MODEL]})
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


def released(packaged: Path, place: Path, key: Path | None) -> Path:
    """The edge archive of a release; its content does not matter."""
    params.write_json(packaged / "dist" / sbom.file_name("edge", PLATFORM), {"components": [MODEL]})
    for name in ("demo-m1-p1.tar.gz", "demo-m1-p1.tar.gz.sha256"):
        (packaged / "dist/deploy/edge" / name).write_bytes(name.encode() * 1000)
    publishing.files(packaged, "edge", PLATFORM, place, key)
    return place / "demo-m1-p1.tar.gz"


def verified(place: Path) -> subprocess.CompletedProcess[str]:
    """By the line of the archive's README, in the folder of the archive and of key.pub."""
    text = Template((archives.TEMPLATES / "README.md").read_text())
    page = text.safe_substitute(name="demo", version="m1-p1")
    (line,) = [line for line in page.splitlines() if "pkeyutl -verify" in line]
    return subprocess.run(line, shell=True, cwd=place, capture_output=True, text=True, check=False)


def test_openssl_believes_a_signed_archive_and_no_other(packaged: Path, tmp_path: Path) -> None:
    place = tmp_path / "release"
    private, public = updating.keys(tmp_path)
    archive = released(packaged, place, private)
    shutil.copy(public, place / "key.pub")
    done = verified(place)
    assert done.returncode == 0 and "Verified Successfully" in done.stdout, done.stderr
    assert {path.name for path in place.glob("*.sig")} == {
        "demo-m1-p1-edge-amd64.cdx.json.sig",
        "demo-m1-p1.tar.gz.sig",
        "demo-m1-p1.tar.gz.sha256.sig",
    }
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] + b"x")
    assert verified(place).returncode == 1
    archive.write_bytes(content)
    shutil.copy(updating.keys(tmp_path, "other")[1], place / "key.pub")
    assert verified(place).returncode == 1


def test_a_key_that_is_not_there_or_of_another_kind_is_named(
    packaged: Path, tmp_path: Path
) -> None:
    place = tmp_path / "release"
    with pytest.raises(SystemExit, match=r"--key .*key\.pem: no such file"):
        released(packaged, place, tmp_path / "key.pem")
    assert not place.exists()
    command = ["openssl", "genpkey", "-algorithm", "ed448", "-out", str(tmp_path / "key.pem")]
    subprocess.run(command, check=True)
    with pytest.raises(SystemExit, match=r"key\.pem: not an Ed25519 key"):
        released(packaged, place, tmp_path / "key.pem")


def test_make_signs_what_is_released(tmp_path: Path) -> None:
    command = ["make", "--dry-run", "--assume-old=setup", "release-files", "B=cv", "TARGET=edge"]
    own = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    run: Any = {"cwd": ROOT, "env": own, "text": True}
    assert "--key" not in subprocess.check_output(command, **run)
    told = subprocess.check_output([*command, f"KEY={tmp_path}/key.pem"], **run)
    assert f'--key "{tmp_path}/key.pem"' in told


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
