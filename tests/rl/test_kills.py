"""`dvc repro` killed in `prepare` and in `train`: the next one ends as an undisturbed one does."""

import shutil
from pathlib import Path

import pytest
from copied import App, edit, run
from killing import begin, copy, kill, results, said, wait_for

pytestmark = [pytest.mark.pipeline, pytest.mark.fault]


@pytest.fixture(scope="module")
def changed(dispatched: App, tmp_path_factory: pytest.TempPathFactory) -> App:
    """Another battery: `prepare` and all after it are still to be run."""
    app = copy(dispatched, tmp_path_factory.mktemp("changed") / "app")
    edit(app.folder / "params.yaml", lambda values: values["env"].update(energy_mwh=3.0))
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
    wait_for(lambda: [*app.folder.glob("checkpoint/*/*.checkpoint")] or process.poll() is not None)
    assert kill(process)
    assert "goes on after step" in run(["dvc", "repro", "evaluate"], *app), said(app)
    assert results(app) == results(undisturbed)
