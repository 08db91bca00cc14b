from pathlib import Path
from typing import Any

import pytest
import shipped
import yaml

from shared import images, params

CHAIN = {"name": "demo", "git_commit": "c0ffee", "git_dirty": False, "pipeline": "p1", "data": "d1"}
CHAIN |= {"model_version": "m1", "bento": "demo:m1-p1"}


@pytest.fixture
def packaged(folder: Path, document: dict[str, Any]) -> Path:
    """The small blueprint, with a folder `build` and an archive in place of a real Bento."""
    shipped.write(folder, document)
    params.write_json(folder / "build/provenance.json", CHAIN)
    params.write_json(folder / "build/export/model.json", 3.25)
    (folder / "build/predictor.py").write_text("packaged = True\n")
    (folder / "dist").mkdir()
    (folder / "dist/demo.bento").write_bytes(b"")
    return folder


def test_without_a_package_the_command_that_makes_it_is_named(folder: Path) -> None:
    with pytest.raises(SystemExit, match=f"run: make demo B={folder.name}"):
        images.provenance(folder)


def test_an_image_is_named_by_target_model_and_platform() -> None:
    assert images.tag(CHAIN, "edge", "linux/arm64") == "demo-edge:m1-p1-arm64"


def test_labels_say_where_an_image_comes_from_and_under_which_licence(
    packaged: Path, document: dict[str, Any]
) -> None:
    labels = images.labels(packaged, CHAIN)
    assert labels["org.opencontainers.image.revision"] == "c0ffee"
    assert labels["org.opencontainers.image.version"] == "m1"
    assert "org.opencontainers.image.licenses" not in labels, "nobody has said it"
    given = yaml.safe_dump(document | {"licence": "MIT AND CC-BY-4.0"})
    (packaged / "objectives.yaml").write_text(given)
    labels = images.labels(packaged, CHAIN)
    assert labels["org.opencontainers.image.licenses"] == "MIT AND CC-BY-4.0"
    assert labels["blueprint.pipeline"] == "p1" and labels["blueprint.git_dirty"] == "False"


@pytest.mark.parametrize(
    ("told", "digest"),
    [
        ('["python@sha256:ab","mirror/python@sha256:ab"]', "sha256:ab"),
        ("[]", "none"),
        ("null", "none"),
    ],
)
def test_an_image_says_what_it_is_built_on(
    monkeypatch: pytest.MonkeyPatch, told: str, digest: str
) -> None:
    monkeypatch.setattr(images.engine, "docker", lambda *_: told)
    base = {"name": "python:3.11-slim", "digest": digest}
    wanted = {f"org.opencontainers.image.base.{key}": value for key, value in base.items()}
    assert images.based("python:3.11-slim") == wanted


def test_an_edge_image_has_what_was_packaged_and_its_own_packages(packaged: Path) -> None:
    (packaged / "predictor.py").write_text("packaged = False\n")
    with images.context(packaged, "edge") as place:
        assert (place / "service/predictor.py").read_text() == "packaged = True\n"
        assert (place / "service/export/model.json").exists()
        pins = (place / "requirements.txt").read_text()
        assert "uvicorn==" in pins and "starlette==" in pins and "bentoml" not in pins
    assert not place.exists()


def test_figures_within_their_budget_pass(packaged: Path, document: dict[str, Any]) -> None:
    (packaged / "objectives.yaml").write_text(
        images_of(document, {"image_mb": 300, "memory_mb": 100})
    )
    images.check(packaged, "edge", {"image_mb": 299.9, "memory_mb": 100, "answers": 1e6})


def test_a_figure_above_its_budget_ends_with_both_numbers(
    packaged: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (packaged / "objectives.yaml").write_text(images_of(document, {"image_mb": 300}))
    with pytest.raises(SystemExit, match=r"image_mb is 300\.5, the budget 300"):
        images.check(packaged, "edge", {"image_mb": 300.5, "ready_s": 99})
    assert "image_mb 300.5 of 300" in capsys.readouterr().out
    images.check(packaged, "cloud", {"image_mb": 300.5})  # which has no budget here


def images_of(document: dict[str, Any], budget: dict[str, float]) -> str:
    return yaml.safe_dump(document | {"targets": {"edge": budget}})
