"""BentoML's own commands in a blueprint's folder, as its users type them."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import shipped

from shared import benchmark, building, packaging

ROOT = Path(__file__).parent.parent
BENTOML = str(Path(sys.executable).with_name("bentoml"))


def bentoml(
    folder: Path, store: Path, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BENTOML_HOME": str(store)} | variables
    return subprocess.run(
        [BENTOML, *words], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def packed(folder: Path, document: dict[str, Any]) -> Path:
    """The small blueprint, whose build/ was filled as stage `package` does."""
    shipped.write(folder, document)
    packaging.assemble(folder, folder / "build")
    return folder


def test_a_folder_without_shared_is_refused_with_the_command_that_works(
    packed: Path, tmp_path: Path
) -> None:
    shared = {"PYTHONPATH": str(ROOT)}
    done = bentoml(packed, tmp_path / "store", "build", **shared)
    assert done.returncode != 0
    assert "run: dvc repro && bentoml build build" in done.stdout + done.stderr
    assert not list((tmp_path / "store").glob("bentos/demo/*"))


def test_what_was_built_serves_where_nothing_else_is(packed: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = bentoml(packed, store, "build", "build", "--output", "tag")
    assert done.returncode == 0, done.stderr
    (tag,) = re.findall(r"demo:\w+", done.stdout)
    assert (packed / "build/logs/.secret").exists(), "made when BentoML imported the service"
    assert not list(store.rglob(".secret")), "what signs request ids is in no Bento"
    shutil.rmtree(packed / "build")
    port, elsewhere = str(benchmark.free_port()), tmp_path / "elsewhere"
    elsewhere.mkdir()
    own = os.environ | {"BENTOML_HOME": str(store), "SERVICE_LOG_FOLDER": str(tmp_path / "logs")}
    own.pop("PYTHONPATH", None)
    command, url = [BENTOML, "serve", tag, "--port", port], f"http://127.0.0.1:{port}"
    with benchmark.running(command, url + "/readyz", tmp_path / "log", cwd=elsewhere, env=own):
        asked = urllib.request.Request(
            url + "/multiply", b'{"number": 2}', {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as response:
            assert json.load(response)["product"] == 6.5


def test_a_copied_folder_is_built_as_it_is_without_its_data(packed: Path, tmp_path: Path) -> None:
    """With `shared` in it, plain `bentoml build` does; .bentoignore leaves out the rest."""
    shutil.copy2(ROOT / "blueprints/cv/.bentoignore", packed)
    shutil.move(packed / "build/shared", packed / "shared")
    for name in ("data/raw", ".dvc/cache", "models", "mlruns"):
        (packed / name).mkdir(parents=True)
        (packed / name / "large").write_text("large")
    store = tmp_path / "store"
    done = bentoml(packed, store, "build", "--version", "v1")
    assert done.returncode == 0, done.stderr
    kept = store / "bentos/demo/v1/src"
    assert (kept / "shared/serving.py").exists() and (kept / "export/model.json").exists()
    assert list(kept.rglob("large")) == []


def test_only_a_build_by_hand_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "whole/shared").mkdir(parents=True)
    for command in (
        ["/bin/bentoml", "serve", "service"],
        ["-m", "shared.packaging"],
        ["bentoml", "build", "--name", "x", str(tmp_path / "whole")],
    ):
        building.complete(command)
    with pytest.raises(SystemExit, match="no folder shared/"):
        building.complete(["bentoml", "build", str(tmp_path)])


@pytest.mark.contract
def test_all_blueprints_keep_the_same_out_of_a_bento() -> None:
    texts = {path.read_text() for path in ROOT.glob("blueprints/*/.bentoignore")}
    assert len(texts) == 1 and len(list(ROOT.glob("blueprints/*/.bentoignore"))) == 4
