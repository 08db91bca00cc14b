"""The images of this blueprint, with other data than its own and a model of two layers."""

from pathlib import Path

import pytest
from copied import App, run
from targets import EVERY_CELL, prove

from genai.documents import fresh, tiny_base

pytestmark = [pytest.mark.pipeline, pytest.mark.container, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def tiny(documents: App, base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> App:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_base(base_model, folder / "base")
    app = fresh(
        documents, folder / "app", lambda values: values["model"].update(base=str(folder / "base"))
    )
    run(["dvc", "repro"], *app)
    return app


@EVERY_CELL
def test_a_target_answers_as_the_packaged_folder_does(
    tiny: App, target: str, platform: str
) -> None:
    # Of random weights many words are as likely, of which another processor may take another one.
    prove(tiny, target, platform, "--alike", "0.7")
