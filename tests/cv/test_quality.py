"""The slower and better setting that comes as a patch."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import train

from shared import objectives, params

FOLDER = Path(train.__file__).parent
COMMAND = re.search(r"    (git apply .*?) && dvc repro", (FOLDER / "README.md").read_text())


@pytest.mark.contract
@pytest.mark.parametrize("place", [".", "blueprints/cv"])
def test_the_patch_applies_as_the_readme_says_and_what_it_makes_is_valid(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the repository and in a folder that was copied out of it."""
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    names = ["objectives.yaml", "params.yaml"]
    for name in [*names, "quality.patch"]:
        shutil.copy(FOLDER / name, folder)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert COMMAND
    subprocess.run(COMMAND[1], cwd=folder, shell=True, check=True)
    monkeypatch.chdir(folder)
    assert params.read("train", train.TrainParams).architecture == "efficientnet_lite0"
    before, after = objectives.load(FOLDER / "objectives.yaml"), objectives.load()
    left_out = {one.id for one in before.key_results} - {one.id for one in after.key_results}
    assert left_out == {"KR9", "KR10"}, "what is asked of INT8"
