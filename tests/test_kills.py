"""`dvc repro` killed at any moment: the next one ends as an undisturbed one does. Goal P1."""

import random
import shutil
import time
from pathlib import Path

import psutil
import pytest
from copied import App, edit, run
from killing import begin, copy, kill, mend, results, said, wait_for, wait_for_stage

pytestmark = [pytest.mark.pipeline, pytest.mark.fault]

KILLS = {"prepare": 6, "train": 8, "evaluate": 6}
SEED, LONGEST = 0, 8.0  # of the delays; seconds


@pytest.fixture(scope="module")
def changed(reproduced: App, tmp_path_factory: pytest.TempPathFactory) -> App:
    """Other parameters: `prepare` and all after it are still to be run."""
    app = copy(reproduced, tmp_path_factory.mktemp("changed") / "app")
    edit(app.folder / "params.yaml", lambda values: values["prepare"].update(seed=1))
    edit(app.folder / "params.yaml", lambda values: values["train"].update(epochs=3))
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
    wait_for(lambda: [*app.folder.glob("data/prepared/*images*"), process.poll() is not None][0])
    assert kill(process)
    run(["dvc", "repro", "prepare"], *app)
    assert results(app, "prepare") == results(undisturbed, "prepare")
    assert {path.name for path in (app.folder / "data/prepared").iterdir()} == {
        "images.npy",
        "samples.csv",
    }


def test_a_killed_training_goes_on_and_ends_with_the_same_results(
    undisturbed: App, tmp_path: Path
) -> None:
    app = copy(undisturbed, tmp_path / "app", "train")
    process = begin(app, "evaluate")
    epoch = app.folder / "checkpoint/epoch.safetensors"
    wait_for(lambda: epoch.exists() or process.poll() is not None)
    assert kill(process)
    assert "goes on after epoch" in run(["dvc", "repro", "evaluate"], *app)
    assert results(app) == results(undisturbed)


def test_twenty_kills_at_random_moments_change_nothing(
    changed: App, undisturbed: App, tmp_path: Path
) -> None:
    generator, rounds = random.Random(SEED), 0
    app = copy(changed, tmp_path / "app0")
    for stage, kills in KILLS.items():
        process = begin(app, "evaluate")
        wait_for_stage(app, process, stage)  # kills alone might never let it come so far
        while kills:
            time.sleep(generator.uniform(0.1, LONGEST))
            if kill(process):
                kills -= 1
            else:  # it came through: once more from the beginning
                assert process.wait() == 0, said(app)
                rounds += 1
                app = copy(changed, tmp_path / f"app{rounds}")
            process = begin(app, "evaluate")
        kill(process)
    mend(app)
    run(["dvc", "repro", "evaluate"], *app)
    assert results(app) == results(undisturbed)


def test_a_stage_that_outlives_dvc_is_waited_for(undisturbed: App, tmp_path: Path) -> None:
    """Only dvc is killed; its training holds still while the next one wants to begin."""
    app = copy(undisturbed, tmp_path / "app", "train")
    first = begin(app, "--single-item", "train")
    wait_for(lambda: (app.folder / "checkpoint").exists() or first.poll() is not None)
    (orphan,) = (child for child in first.children(recursive=True) if "train.py" in child.cmdline())
    orphan.suspend()
    first.kill()
    first.wait()
    second = begin(app, "--single-item", "train")
    try:
        waits = "train: waits for a process that still runs this stage"
        wait_for(lambda: waits in said(app) or second.poll() is not None)
        assert second.poll() is None, said(app)
    finally:
        orphan.resume()
    assert second.wait(300) == 0, said(app)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert results(app) == results(undisturbed)
