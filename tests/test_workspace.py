"""Retraining beside a blueprint of three stages, whose model is the mean of its data.

What is run is counted in `ran`: every stage adds its name.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared import audit, params, provenance, retraining, tracking, workspace
from shared.workspace import DVC

FILES = {
    "dvc.yaml": """
stages:
  ingest:
    cmd: python ingest.py
    deps: [ingest.py, "${ingest.source}"]
    params: [ingest]
    outs: [data/raw]
  train:
    cmd: python train.py
    deps: [train.py, data/raw]
    params: [train]
    outs: [export]
    metrics:
      - metrics.json: {cache: false}
  gate:
    cmd: python gate.py
    deps: [gate.py, objectives.yaml, metrics.json, export]
    outs:
      - reports/objectives.json: {cache: false}
      - reports/objectives.md: {cache: false}
""",
    "params.yaml": """# Every number worth changing.
ingest:
  source: data.csv   # a file of numbers
train:
  auc: 0.95          # what it is said to reach
  wait: false
""",
    "counting.py": """
import os
from pathlib import Path
def count(name):
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(name + "\\n")
""",
    "ingest.py": """
from pathlib import Path
from counting import count
from shared import params
Path("data").mkdir(exist_ok=True)
Path("data/raw").write_text(Path(params.load_yaml("params.yaml")["ingest"]["source"]).read_text())
count("ingest")
""",
    "train.py": """
import time
from pathlib import Path
from counting import count
from shared import params
config = params.load_yaml("params.yaml")["train"]
count("train")
if config["wait"]:
    time.sleep(600)
numbers = [float(line) for line in Path("data/raw").read_text().split()]
params.write_json("export/model.json", {"mean": sum(numbers) / len(numbers)})
params.write_json("metrics.json", {"test": {"auc": config["auc"]}})
""",
    "gate.py": """
import sys
from pathlib import Path
from counting import count
from shared import report
count("gate")
sys.exit(report.gate(Path()))
""",
    "objectives.yaml": """
name: demo
ai_type: timeseries
problem: Tell the mean.
requirements: [{id: R1, kind: business, text: right, owner: sales}]
objectives:
  - objective: The mean is right
    key_results:
      - {id: KR1, requirement: R1, metric: test.auc, at_least: 0.9, when: release}
architecture: {model: {chosen: the mean}}
""",
    "data.csv": "1\n2\n",
    "reports/reference.json": '{"live_metrics": {}}',
    "mlflow.db-journal": "not to be copied",
    ".dvc/config": "[core]\n    no_scm = true\n",
    ".dvc/.gitignore": "/cache\n/tmp\n",
    ".gitignore": "/.ran\n/data\n/export\n/live\n/mlflow.db*\n__pycache__/\n",
    ".dvcignore": "live/\n",
}


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which stages count; environment variables go back to what they were."""
    names = (audit.FOLDER, audit.KEY_RESULT, audit.INCIDENT, audit.SERVICE, "MLFLOW_TRACKING_URI")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    path = tmp_path / "ran"
    monkeypatch.setenv("RAN", str(path))
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """A blueprint's folder as its users have it after `dvc repro`, without git."""
    folder = tmp_path_factory.mktemp("made")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copy(migrated, folder / "mlflow.db")
    path = f"{DVC.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "RAN": str(folder / ".ran")}
    subprocess.run([DVC, "repro", "-q"], cwd=folder, env=environment, check=True)
    return folder


@pytest.fixture(params=[True, False], ids=["in-git", "without-git"])
def in_git(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def app(
    made: Path, tmp_path: Path, counted: Path, in_git: bool, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The same folder in the test's own place, and as working directory."""
    folder = tmp_path / "app"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    if in_git:
        (folder / ".dvc/config").write_text("")
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
            subprocess.run(["git", *command], check=True)
    counted.write_text("")
    return folder


def grow(live: Path, *numbers: float) -> dict[str, Any]:
    """More data; the change of parameters that makes them the source."""
    (live / "data").mkdir(parents=True, exist_ok=True)
    with (live / "data/data.csv").open("a") as file:
        file.writelines(f"{number}\n" for number in numbers)
    return {"ingest.source": str((live / "data/data.csv").resolve())}


def test_a_retraining_runs_beside_the_blueprint_and_leaves_it_as_it_is(
    app: Path, counted: Path, in_git: bool
) -> None:
    live, before = Path("live"), (app / "export/model.json").read_text()
    work = retraining.workspace(live)
    assert work == app / "live/work" and not (work / "mlflow.db-journal").exists()
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{app}/mlflow.db"
    retraining.reproduce(work)
    assert counted.read_text() == "", "what has not changed is not run again"
    assert (work / "export/model.json").read_text() == before
    retraining.configure(work, grow(live, 3, 5))
    retraining.reproduce(work)
    assert counted.read_text().split() == ["ingest", "train", "gate"]
    assert params.read_json(work / "export/model.json") == {"mean": 4.0}
    assert (app / "export/model.json").read_text() == before
    assert not (app / "live/.dvc/cache").exists(), "the blueprint's cache has it"
    assert "Running stage 'train'" in (live / "retrain.log").read_text()
    assert [line["event"] for line in audit.read(live)] == ["reproduced"] * 2
    if in_git:
        state = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True)
        assert state.stdout == ""
        assert provenance.collect(work)["git_commit"] == provenance.collect(app)["git_commit"]
        assert provenance.collect(work)["git_commit"] != "none"
    experiment = tracking.client().get_experiment_by_name("demo")
    assert experiment.artifact_location == str(app / "mlruns/demo")


IN_GIT = pytest.mark.parametrize("in_git", [True], ids=["in-git"])


@IN_GIT
def test_every_state_of_the_data_can_be_had_again(app: Path) -> None:
    live = Path("live")
    hashes = []
    for number in (1, 2):
        grow(live, number)
        hashes.append(retraining.version(live / "data"))
    assert hashes[0] != hashes[1] and all(one.endswith(".dir") for one in hashes)
    (live / "data/data.csv").write_text("3\n")
    pointer = live / "data.dvc"
    pointer.write_text(pointer.read_text().replace(hashes[1], hashes[0]))
    subprocess.run([DVC, "checkout", "-q", "--force", "data"], cwd=live, check=True)
    assert (live / "data/data.csv").read_text() == "1\n"


@IN_GIT
def test_data_of_the_live_loop_stay_when_the_cache_is_tidied_up(app: Path) -> None:
    live = Path("live")
    grow(live, 1)
    retraining.version(live / "data")
    retraining.workspace(live)
    tidy = ["gc", "--workspace", "--projects", "live", "--force"]
    subprocess.run([DVC, *tidy], check=True)
    shutil.rmtree(live / "data")
    subprocess.run([DVC, "checkout", "-q", "data"], cwd=live, check=True)
    assert (live / "data/data.csv").read_text() == "1\n"


@IN_GIT
@pytest.mark.fault
def test_an_interrupted_retraining_goes_on_where_it_was(app: Path, counted: Path) -> None:
    changes = grow(Path("live"), 3)
    work = retraining.workspace(Path("live"))
    retraining.configure(work, changes | {"train.wait": True})
    code = f"from pathlib import Path; from shared import retraining; work = Path({str(work)!r}); "
    command = [sys.executable, "-c", code + "retraining.reproduce(work)"]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 60
    while "train" not in counted.read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (app / "former.py").touch()
    (app / "live/work/deleted.py").touch()
    assert retraining.workspace(Path("live")) == work
    assert (work / "former.py").exists() and not (work / "deleted.py").exists()
    retraining.configure(work, changes)
    retraining.reproduce(work)
    assert counted.read_text().split() == ["ingest", "train", "train", "gate"]


@IN_GIT
@pytest.mark.fault
def test_data_are_versioned_after_a_kill_that_tore_the_locks(app: Path) -> None:
    """Before there is a workspace, whose making mends them too."""
    live = Path("live")
    grow(live, 1)
    first = retraining.version(live / "data")
    (live / ".dvc/tmp/rwlock").write_text('{"write": {"/da')
    grow(live, 2)
    assert retraining.version(live / "data") != first


def test_a_copied_folder_has_its_own_cache_and_library(app: Path, tmp_path: Path) -> None:
    live = Path("live")
    work = retraining.workspace(live)
    (work / "shared").unlink()
    (work / "shared").symlink_to(tmp_path / "of the folder it was copied from")
    config = (live / ".dvc/config").read_text()
    (live / ".dvc/config").write_text(config.replace(str(app), "/elsewhere"))
    retraining.workspace(live)
    assert (work / "shared").resolve() == Path(workspace.__file__).parent
    assert (live / ".dvc/config").read_text() == config


@IN_GIT
def test_the_gates_line_and_a_failed_stage_are_told_apart(app: Path) -> None:
    work = retraining.workspace(Path("live"))
    retraining.configure(work, {"train.auc": 0.5})
    with pytest.raises(retraining.Refused) as refused:
        retraining.reproduce(work)
    assert str(refused.value) == "refused: KR1 missed: test.auc target >= 0.9, measured 0.5"
    retraining.configure(work, {"ingest.source": "empty.csv"})
    (work / "empty.csv").write_text("no number\n")
    with pytest.raises(retraining.Failed, match=r"could not convert.*failed to reproduce 'train'"):
        retraining.reproduce(work)
    assert audit.read(Path("live")) == []


def locked(folder: Path, pid: int) -> Path:
    """DVC's file of locks, with this process as the one who writes."""
    path = folder / "rwlock"
    holder = {"pid": pid, "cmd": "dvc repro"}
    path.write_text(json.dumps({"read": {"a": [holder]}, "write": {"b": holder}}))
    return path


def test_locks_of_the_killed_are_taken_away_and_those_of_the_living_stay(tmp_path: Path) -> None:
    workspace.mend(tmp_path / "rwlock")
    mine = locked(tmp_path, os.getpid())
    workspace.mend(mine)
    assert mine.exists()
    killed = subprocess.Popen(["sleep", "60"])
    killed.kill()
    while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    workspace.mend(locked(tmp_path, killed.pid))
    assert not mine.exists(), "nobody has waited for the killed process yet"
    killed.wait()
    workspace.mend(locked(tmp_path, killed.pid))
    assert not mine.exists()
    with subprocess.Popen(["sleep", "1"]) as dying:
        workspace.mend(locked(tmp_path, dying.pid))
    assert not mine.exists(), "it was waited for"


@pytest.mark.parametrize("torn", ["", '{"read": {', "[]", '{"read": {}, "write": 3}'])
def test_a_torn_file_of_locks_is_taken_away(tmp_path: Path, torn: str) -> None:
    (tmp_path / "rwlock").write_text(torn)
    workspace.mend(tmp_path / "rwlock")
    assert not (tmp_path / "rwlock").exists()
