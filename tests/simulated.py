"""The live loop of a copied-out folder, run to its end by `python -m shared.live simulate`."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from copied import App, edit

STORY = ["alert", "retrain_started", "data_appended", "reproduced", "challenger", "compared"]
STORY += ["promoted", "served", "retrain_finished"]
LEAD = "traffic: "  # and what was sent, as JSON
Line = dict[str, Any]


class Ended(NamedTuple):
    """What a simulation printed and the audit log it left."""

    returncode: int
    output: str
    audit: list[Line]


def small_windows(app: App, size: int, hold: str = "2 of 3", **changes: Line) -> None:
    """Every live key result on windows of `size`, so many of which must miss the target.

    changes: by metric, without its `live.`, what else is this folder's own, e.g. a threshold.
    """

    def change(document: Line) -> None:
        for objective in document["objectives"]:
            for result in objective["key_results"]:
                if "window" in result:
                    kind = result["window"].split()[-1]
                    result |= {"window": f"{size} {kind}", "for": hold}
                    result |= changes.get(result["metric"].removeprefix("live."), {})

    edit(app.folder / "objectives.yaml", change)


def simulate(app: App, shift: str, rate: float, *options: str) -> Ended:
    command = ["python", "-m", "shared.live", "simulate", "--shift", shift, "--rate", str(rate)]
    done = subprocess.run(
        [*command, "--windows", "3", *options],
        cwd=app.folder,
        env=app.environment | {"SERVICE_TIMEOUT_S": "60"},  # two cores, three heavy processes
        capture_output=True,
        text=True,
    )
    log = app.folder / "simulated/audit.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    ends = {
        path.name: path.read_text()[-1500:] for path in Path(app.folder).glob("simulated/*.log")
    }
    output = f"{done.stdout}\n{done.stderr[-2000:]}\n{json.dumps(ends, indent=1)}"
    return Ended(done.returncode, output, [json.loads(line) for line in lines])


def assert_quiet(found: Ended) -> None:
    """Usual traffic: no alert and nothing that follows one, and every request was answered."""
    assert found.returncode == 0, found.output[-8000:]
    assert found.audit == [] and "windows of usual traffic, no alert" in found.output
    (usual,) = sent(found)
    assert set(usual["answers"]) == {"200"} and len(usual["models"]) == 1, usual


def assert_answered(found: Ended) -> None:
    """Quiet before the shift; after it the whole story, and no request was lost on the way."""
    assert found.returncode == 0, found.output[-8000:]
    assert [line["event"] for line in story(found)] == STORY
    usual, shifted = sent(found)
    answers = {"usual": usual["answers"], "shifted": shifted["answers"]}
    assert all(set(statuses) == {"200"} for statuses in answers.values()), answers
    old, new = line_of(found, "challenger")["champion"], line_of(found, "promoted")["version"]
    assert list(usual["models"]) == [old] and list(shifted["models"]) == [old, new]


def story(found: Ended) -> list[Line]:
    """What came of the alert that started the retraining, but for when it was over."""
    incident = line_of(found, "retrain_started")["incident"]
    lines = [line for line in found.audit if line.get("incident") == incident]
    return [line for line in lines if line["event"] != "resolved"]


def sent(found: Ended) -> list[Line]:
    """What each part of the traffic says of itself at its end."""
    told = [line for line in found.output.splitlines() if line.startswith(LEAD + "{")]
    return [json.loads(line.removeprefix(LEAD)) for line in told]


def line_of(found: Ended, event: str) -> Line:
    return next(line for line in found.audit if line["event"] == event)
