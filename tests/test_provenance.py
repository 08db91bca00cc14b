import subprocess
from pathlib import Path

import pytest
import yaml

from shared import params, provenance


def test_the_pipeline_hash_ignores_the_stages_that_read_it(folder: Path) -> None:
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    before = provenance.pipeline_hash(folder / "dvc.lock")
    lock["stages"]["package"] = {"cmd": "b"}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert provenance.pipeline_hash(folder / "dvc.lock") == before
    lock["stages"]["train"] = {"cmd": "c"}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert provenance.pipeline_hash(folder / "dvc.lock") != before


def test_changed_code_is_dirty_and_no_git_is_none(folder: Path, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    assert provenance.collect()["git_dirty"] is False
    (folder / "params.yaml").write_text("train: {epochs: 2}\n")
    assert provenance.collect()["git_dirty"] is True
    bare = tmp_path_factory.mktemp("bare")
    (bare / "objectives.yaml").write_text((folder / "objectives.yaml").read_text())
    assert provenance.collect(bare)["git_commit"] == "none"


def test_changed_code_of_shared_is_dirty_wherever_it_lies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the repository it lies two folders above a blueprint."""
    app = folder / "blueprints/demo"
    for name in ("shared/provenance.py", "blueprints/demo/objectives.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text((folder / "objectives.yaml").read_text())
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    for command in (["add", "-A"], [*identity, "commit", "-qm", "more"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    monkeypatch.setattr(provenance, "__file__", str(folder / "shared/provenance.py"))
    assert provenance.collect(app)["git_dirty"] is False
    (folder / "shared/provenance.py").write_text("changed")
    assert provenance.collect(app)["git_dirty"] is True


def test_a_package_brings_its_own_chain(folder: Path) -> None:
    assert provenance.packaged(folder)["bento"] == "none"
    params.write_json(folder / "provenance.json", {"bento": "demo:1"})
    assert provenance.packaged(folder) == {"bento": "demo:1"}


def test_a_changed_threshold_is_another_model(folder: Path) -> None:
    before = provenance.collect()["model_version"]
    params.write_json(folder / "export/model.json", {"threshold": 0.5})
    changed = provenance.collect()["model_version"]
    assert changed != before
    (folder / "export/example.png").write_bytes(b"only shown")
    assert provenance.collect()["model_version"] == changed


def test_other_weights_beside_the_same_graph_are_another_model(folder: Path) -> None:
    versions = set()
    for weights in (b"first", b"other"):
        (folder / "export/model.onnx.data").write_bytes(weights)
        versions.add(provenance.collect()["model_version"])
    assert len(versions) == 2
