"""The shifts that the READMEs tell of, at full size, from alert to the model that answers them.

make long        after `make demo`; the blueprints' own tests do the same at reduced size
"""

import shutil
from pathlib import Path

import pytest
from copied import App
from simulated import assert_answered, simulate

from shared.workspace import environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]
ROOT = Path(__file__).parent.parent
# Requests per second; genai answers about one and a half of them.
SHIFTS = {"cv": ("darker", 20), "timeseries": ("higher", 20), "rl": ("crisis", 20)}
SHIFTS |= {"genai": ("letters", 0.9)}


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_noticed_learnt_and_served(name: str, tmp_path: Path, tools: None) -> None:
    shift, rate = SHIFTS[name]
    app = App(tmp_path / "app", environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"})
    left_out = shutil.ignore_patterns("live", "simulated", "logs", "__pycache__")
    shutil.copytree(ROOT / "blueprints" / name, app.folder, symlinks=True, ignore=left_out)
    if not (app.folder / "export/model.json").exists():
        pytest.fail(f"blueprints/{name} has no export: make demo B={name}")
    (app.folder / "shared").symlink_to(ROOT / "shared")
    assert_answered(simulate(app, shift, rate))
