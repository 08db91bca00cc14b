"""`dvc repro` killed in `prepare` and in `train`: the next one ends as an undisturbed one does."""

import shutil
from pathlib import Path

import pytest
from copied import App, edit, run
from killing import begin, copy, kill, results, said, wait_for

from genai.documents import tiny_base

pytestmark = [pytest.mark.pipeline, pytest.mark.fault, pytest.mark.long]


@pytest.fixture(scope="module")
def changed(extracted: App, tmp_path_factory: pytest.TempPathFactory) -> App:
    """A small base model of its own: `validate` and all after it are still to be run."""
    base = tmp_path_factory.mktemp("changed")
    tiny_base(extracted.folder / ".base/packaged", base / "tiny")
    app = copy(extracted, base / "app")

    def change(values: dict) -> None:
        values["model"]["base"] = str(base / "tiny")
        values["train"] |= {"epochs": 6, "batch_size": 8, "accumulate": 1}

    edit(app.folder / "params.yaml", change)
    return app


@pytest.fixture(scope="module")
def undisturbed(changed: App, tmp_path_factory: pytest.TempPathFactory) -> App:
    app = copy(changed, tmp_path_factory.mktemp("undisturbed") / "app")
    run(["dvc", "repro", "evaluate"], *app)
    return app


def test_a_killed_prepare_is_done_again(changed: App, undisturbed: App, tmp_path: Path) -> None:
    app = copy(changed, tmp_path / "app")
    shutil.rmtree(app.folder / "data/prepared")
    process = begin(app, "prepare")
    wait_for(lambda: (app.folder / "data/prepared").exists() or process.poll() is not None)
    assert kill(process)
    run(["dvc", "repro", "prepare"], *app)
    assert results(app, "prepare") == results(undisturbed, "prepare")


def test_a_killed_training_goes_on_and_ends_with_the_same_results(
    undisturbed: App, tmp_path: Path
) -> None:
    app = copy(undisturbed, tmp_path / "app", "train")
    process = begin(app, "evaluate")
    state = "checkpoint/*/checkpoint-*/trainer_state.json"
    wait_for(lambda: [*app.folder.glob(state)] or process.poll() is not None)
    assert kill(process)
    assert "goes on after epoch" in run(["dvc", "repro", "evaluate"], *app), said(app)
    assert results(app) == results(undisturbed)
