"""The live loop end to end in a copied-out folder, with real Prometheus and Alertmanager."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from copied import App, edit

pytestmark = [pytest.mark.pipeline, pytest.mark.fault]
STORY = ["alert", "retrain_started", "data_appended", "reproduced", "challenger", "compared"]
STORY += ["promoted", "served", "retrain_finished"]


def small(document: dict[str, Any]) -> None:
    """Windows of this folder's few images."""
    for objective in document["objectives"]:
        for result in objective["key_results"]:
            if "window" in result:
                count = "60 labelled" if "labelled" in result["window"] else "60 requests"
                result |= {"window": count, "for": "2 of 3"}


@pytest.fixture(scope="module")
def copy(reproduced: App, tmp_path_factory: pytest.TempPathFactory, tools: None) -> App:
    app = App(tmp_path_factory.mktemp("live") / "app", reproduced.environment)
    shutil.copytree(reproduced.folder, app.folder, symlinks=True)
    edit(app.folder / "objectives.yaml", small)
    edit(app.folder / "params.yaml", lambda values: values["retrain"].update(rows=240, epochs=4))
    return app


def simulate(app: App, shift: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    command = ["python", "-m", "shared.live", "simulate", "--shift", shift, "--rate", "30"]
    done = subprocess.run(
        [*command, "--windows", "3", "--seconds", "600"],
        cwd=app.folder,
        env=app.environment,
        capture_output=True,
        text=True,
    )
    log = app.folder / "simulated/audit.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return done, [json.loads(line) for line in lines]


def told(app: App, done: subprocess.CompletedProcess[str]) -> str:
    logs = {
        path.name: path.read_text()[-1500:] for path in Path(app.folder).glob("simulated/*.log")
    }
    return f"{done.stdout[-3000:]}\n{done.stderr[-2000:]}\n{json.dumps(logs, indent=1)}"


def test_usual_traffic_raises_no_alert(copy: App) -> None:
    done, lines = simulate(copy, "none")
    assert done.returncode == 0, told(copy, done)
    assert lines == [] and "no alert" in done.stdout


def test_negatives_are_noticed_learnt_and_served_without_a_lost_request(copy: App) -> None:
    done, lines = simulate(copy, "negative")
    assert done.returncode == 0, told(copy, done)
    incident = next(line["incident"] for line in lines if line["event"] == "retrain_started")
    assert [line["event"] for line in lines if line.get("incident") == incident] == STORY
    lead = "traffic: "
    found = [line.removeprefix(lead) for line in done.stdout.splitlines() if line.startswith(lead)]
    usual, shifted = (json.loads(line) for line in found)
    assert set(usual["answers"]) == set(shifted["answers"]) == {"200"}
    old, new = (lines_of(lines, event) for event in ("challenger", "promoted"))
    assert list(shifted["models"]) == [old["champion"], new["version"]]


def lines_of(lines: list[dict[str, Any]], event: str) -> dict[str, Any]:
    return next(line for line in lines if line["event"] == event)
