"""The blueprint in a folder of its own with a part of its sample, reproduced, and its windows.

Forecasts come from the service's own code, without HTTP; windows are judged as the monitor does.
"""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import judged
import pytest
import yaml
from copied import open_gate, service

from shared import lineage, objectives, params, releasing
from shared.workspace import DVC, environment

ROOT = Path(__file__).parent.parent.parent
SERIES = 40
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "true"}
Rows = list[dict[str, Any]]


def copy(folder: Path) -> None:
    """The blueprint's files, as git has or would have them, and `shared` beside them."""
    ours = [
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "blueprints/timeseries",
    ]
    names = subprocess.run(ours, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split():
        target = folder / name.removeprefix("blueprints/timeseries/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    (folder / "shared").symlink_to(ROOT / "shared")


def reproduce(folder: Path, **changes: dict[str, Any]) -> None:
    """`dvc repro` with changes of params.yaml by section."""
    values = yaml.safe_load((folder / "params.yaml").read_text())
    for section, change in changes.items():
        values[section] |= change
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    for command in (["git", "init", "-q"], [str(DVC), "repro", "-q"]):
        own = environment() | ENVIRONMENT | {"BENTOML_HOME": str(folder / "bentoml")}
        done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def tourism(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 series, one fold, one candidate; thresholds that any model reaches."""
    folder = tmp_path_factory.mktemp("tourism") / "app"
    copy(folder)
    open_gate(folder)
    train = {"candidates": ["combination"], "folds": 1, "trees": 30, "max_rows": 40000}
    reproduce(folder, ingest={"limit": SERIES}, train=train, evaluate={"peer": False})
    return folder


class World:
    """Answers with their truths, from a deployed model whose held-out months lie ahead.

    Modules of the blueprint are imported by tests only, see isolated.py.
    """

    def __init__(self, folder: Path) -> None:
        import traffic

        self.folder, self.live = folder, folder / "live"
        self.version = releasing.deploy(folder / "export", self.live)
        assert traffic.rewind(lineage.serving(self.live)) > 0
        self.module = service(folder)
        self.predictor = self.module.Forecaster(lineage.serving(self.live))
        self.known = cache(self._answer)  # the same series asked again has the same forecast

    def _answer(self, body: str) -> dict[str, Any]:
        from requested import Question

        question = Question(**json.loads(body))
        record = self.module.answer(self.predictor, question)[1]
        return json.loads(json.dumps(record, allow_nan=False)) | {"model": self.version}

    def rows(self, shift: str, seed: int) -> Iterator[dict[str, Any]]:
        """Records of the request log without end, with the truth of each."""
        import traffic

        for item in traffic.items(shift, seed):
            yield {**self.known(json.dumps(item.body)), "truth": item.truth}

    def measured(self, rows: Rows, labelled: bool) -> dict[str, Any]:
        import monitor

        if labelled:
            return monitor.judge(rows)
        usual = params.read_json(self.folder / "reports/reference.json")
        return monitor.measure(rows, usual, params.read_json(self.folder / "export/model.json"))

    def breaches(self, shift: str, windows: int, size: int | None = None) -> dict[str, int | None]:
        """Key result -> the number of windows after which it is breached; None: by none of them."""
        found = {}
        for one in objectives.load(self.folder / "objectives.yaml").key_results:
            if not one.count:
                continue
            rows = self.rows(shift, seed=0)
            parts = (list(itertools.islice(rows, size or one.count)) for _ in range(windows))
            measured = (self.measured(part, one.labelled)[one.metric] for part in parts)
            found[one.id] = judged.breach(one, measured)
        return found


@pytest.fixture(scope="session")
def world(tourism: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Of a copy, so that what is deployed there is seen by no other test."""
    folder = tmp_path_factory.mktemp("world") / "app"
    shutil.copytree(tourism, folder, symlinks=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        return World(folder)
    finally:
        os.chdir(before)
