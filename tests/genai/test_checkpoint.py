"""What is learnt is kept apart for other parameters, data and base models, and only whole."""

import shutil
from pathlib import Path
from typing import Any

import checkpoint
import pytest
from model import TrainParams

from shared import params

ROOT = Path(__file__).parent.parent.parent
CONFIG = params.read("train", TrainParams, ROOT / "blueprints/genai/params.yaml").model_dump()


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with examples, a base model and an adapter, as far as their bytes are looked at."""
    monkeypatch.chdir(tmp_path)
    for name in ("examples", "base/weights", "adapter/weights"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def place(base: str = "base", **change: Any) -> Path:
    return checkpoint.folder(TrainParams(**(CONFIG | change)), Path(base), Path("examples"))


def test_other_parameters_forget_the_checkpoint(prepared: Path) -> None:
    first = place()
    assert place() == first and first.exists()
    second = place(rank=8)
    assert second != first and not first.exists()
    third = place(adapter="adapter")
    (prepared / "adapter/weights").write_bytes(b"y")
    assert len({first, second, third, place(adapter="adapter")}) == 4


def test_other_examples_forget_the_checkpoint(prepared: Path) -> None:
    first = place()
    (prepared / "examples").write_bytes(b"y")
    assert place() != first and not first.exists()


def test_another_base_model_forgets_the_checkpoint(prepared: Path) -> None:
    """By another name, or other weights under the same."""
    first = place()
    shutil.copytree(prepared / "base", prepared / "same")
    assert place("same") == first, "it is the same model, wherever it lies"
    (prepared / "same/config.json").write_bytes(b"{}")
    second = place("same")
    (prepared / "base/weights").write_bytes(b"y")
    (prepared / "base/folder").mkdir()
    assert len({first, second, place()}) == 3


def test_a_killed_run_goes_on_from_the_newest_checkpoint_that_is_whole(tmp_path: Path) -> None:
    """A kill hit the state of the third and the weights of the fourth while they were written."""
    assert checkpoint.newest(tmp_path) is None
    for step, state in ((9, "{}"), (18, "{}"), (27, '{"epoch"'), (36, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state:
            (folder / "trainer_state.json").write_text(state)
    assert checkpoint.newest(tmp_path) == str(tmp_path / "checkpoint-18")
    (tmp_path / "checkpoint-100").mkdir()
    (tmp_path / "checkpoint-100/trainer_state.json").write_text("{}")
    assert checkpoint.newest(tmp_path) == str(tmp_path / "checkpoint-100")
