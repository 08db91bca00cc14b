"""Deploying, serving and rolling back; `folder` is a blueprint's folder after `export`."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from shared import audit, lineage, objectives, params, provenance, registry, releasing, tracking


def deploy(folder: Path, content: str, again: bool = False) -> str:
    """Another model from the pipeline, served."""
    (folder / "export/model.onnx").write_text(content)
    return releasing.deploy(folder / "export", folder / "live", again)


def events(folder: Path) -> list[tuple[str, str]]:
    return [(one["event"], one["version"]) for one in lineage.history(folder / "live")]


def test_a_deployed_model_is_whole_and_says_where_it_comes_from(folder: Path) -> None:
    live = folder / "live"
    assert lineage.current(live) is None and lineage.serving(live) == folder / "export"
    name = deploy(folder, "first")
    chain = provenance.collect()
    assert name == chain["model_version"]
    assert (live / "current").read_text() == f"{name}\n"
    served = lineage.serving(live)
    assert served == live / "models" / name
    assert (served / "model.onnx").read_text() == "first"
    assert params.read_json(served / "provenance.json") == chain | {"bento": "none"}
    assert chain["git_commit"] != "none" and events(folder) == [("promoted", name)]


def test_deploying_the_served_model_again_changes_nothing(folder: Path) -> None:
    name = deploy(folder, "first")
    inode = (folder / "live/current").stat().st_ino
    assert deploy(folder, "first") == name
    assert (folder / "live/current").stat().st_ino == inode
    assert events(folder) == [("promoted", name)]


def test_a_rollback_goes_one_back_and_the_bad_version_is_remembered(folder: Path) -> None:
    live = folder / "live"
    first, second = deploy(folder, "first"), deploy(folder, "second")
    assert releasing.rollback(live) == first == lineage.current(live)
    assert events(folder)[-1] == ("rolled_back", second)
    assert not (folder / "mlflow.db").exists(), "no registry is made just to ask it"
    with pytest.raises(audit.Refused, match=f"version {second} was rolled back before"):
        deploy(folder, "second")
    assert lineage.current(live) == first
    with pytest.raises(audit.Refused, match=f"no model before {first}"):
        releasing.rollback(live)
    assert deploy(folder, "second", again=True) == second, "a person may"
    assert lineage.rolled_back(live) == set()


def test_a_rollback_never_returns_to_a_version_rolled_back_before(folder: Path) -> None:
    first, _, third = deploy(folder, "first"), deploy(folder, "second"), "third"
    releasing.rollback(folder / "live")
    deploy(folder, third)
    assert releasing.rollback(folder / "live") == first


def test_the_registrys_alias_follows_a_rollback(store: Path) -> None:
    for number, content in enumerate(["first", "second"], 1):
        (store / "export/model.onnx").write_text(content)
        (store / "dvc.lock").write_text(f"stages: {{train: {{outs: [{number}]}}}}\n")
        params.write_json(store / "metrics.json", {"test": {"auc": 0.95 + number / 100}})
        registry.register()
        assert registry.promote(objectives.load()) == (True, f"version {number} is champion")
        releasing.deploy(store / "export", store / "live")
    releasing.rollback(store / "live")
    client = tracking.client()
    assert client.get_model_version_by_alias("demo", "champion").version in (1, "1")


def test_a_registry_that_is_down_does_not_keep_a_rollback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = deploy(folder, "first"), deploy(folder, "second")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert releasing.rollback(folder / "live") == first == lineage.current(folder / "live")


def test_five_models_are_kept_with_the_served_one_and_the_one_before(folder: Path) -> None:
    live = folder / "live"
    names = [deploy(folder, f"model {number}") for number in range(8)]
    kept = {path.name for path in (live / "models").iterdir()}
    assert kept == set(names[-5:])
    releasing.rollback(live)
    later = [deploy(folder, f"other {number}") for number in range(4)]
    kept = {path.name for path in (live / "models").iterdir()}
    assert len(kept) == 5 and set(later) < kept
    for _ in range(3):
        assert releasing.rollback(live) in kept


@pytest.mark.fault
def test_a_full_disk_leaves_the_old_model_in_place(folder: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    live, first = folder / "live", deploy(folder, "first")
    (folder / "export/large.onnx").write_bytes(bytes(100_000))
    limit = (50_000, resource.RLIM_INFINITY)
    code = "from pathlib import Path; from shared import releasing; "
    done = subprocess.run(
        [sys.executable, "-c", code + "releasing.deploy(Path('export'), Path('live'))"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 1 and "File too large" in done.stderr
    assert lineage.current(live) == first
    assert [path.name for path in (live / "models").iterdir()] == [first]
    assert releasing.deploy(folder / "export", live) != first


@pytest.mark.fault
def test_a_kill_between_pointer_and_history_is_made_good(folder: Path) -> None:
    live = folder / "live"
    first, second = deploy(folder, "first"), deploy(folder, "second")
    (live / "current").write_text(f"{first}\n")
    lineage.settle(live)
    assert events(folder)[-1] == ("rolled_back", second)
    lineage.settle(live)
    assert len(events(folder)) == 3
    (live / "models/other").mkdir()
    (live / "current").write_text("other\n")
    assert releasing.rollback(live) == first
    assert events(folder)[3:] == [("promoted", "other"), ("rolled_back", "other")]


def test_the_commands_say_what_is_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = deploy(folder, "first"), deploy(folder, "second")
    for command in ("rollback", "deploy", "history"):
        monkeypatch.setattr(sys, "argv", ["releasing", command])
        releasing.main()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"rollback: {first} is served again"
    assert said[1].endswith("is served") and len(said) == 6
