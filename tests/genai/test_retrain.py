"""From corrected records in the log to a model that is served, or is not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import corrected
import numpy as np
import pytest
import retrain
from copied import edit, open_gate
from corrected import RetrainParams
from records import Json

from genai.documents import NESTED, shorten, write
from shared import audit, joining, lineage, params, requestids, retraining
from shared.guards import BadInput
from shared.requestlog import RequestLog

FOLDER = Path(retrain.__file__).parent
SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": ["integer", "null"]}, "kind": {"enum": ["a", "b"]}},
    "required": ["people", "kind"],
    "additionalProperties": False,
}
CONFIG: Json = {"rows": 200, "held_back": 32, "validation_share": 0.2, "same_record": True}
CONFIG |= {"epochs": 1, "learning_rate": 0.001, "gate_without": ()}


def told(number: int, how: str = "") -> str:
    """A text that is like no other number's."""
    return " ".join(f"{how}word{number}x{i}" for i in range(6))


def truth(number: int) -> Json:
    return {"people": number, "kind": "ab"[number % 2]}


def log(live: Path, pairs: list[tuple[str, Json]], texts: bool = True) -> None:
    """What the service writes when it is asked and then corrected, as the monitor has read it."""
    requests, feedback = (RequestLog(live / "logs", n, 1, 1) for n in ("requests", "feedback"))
    for text, record in pairs:
        identity = requestids.new(b"secret")
        assert requests.write({"id": identity, "model": "m"} | ({"text": text} if texts else {}))
        assert feedback.write({"id": identity, "truth": record})
    joining.Joined(live / "monitor.db").read(live / "logs")


@pytest.fixture
def live(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """live/ in a folder with what the pipeline makes, as far as retraining looks at it."""
    import pandas as pd

    params.write_json(tmp_path / "data/raw/schema.json", SCHEMA)
    rows = [
        {"id": f"{i:06d}", "input": told(i), "output": truth(i), "group": ""} for i in range(20)
    ]
    lines = "".join(json.dumps(row | {"split": ""}) + "\n" for row in rows)
    (tmp_path / "data/checked.jsonl").write_text(lines)
    splits = [
        {"id": row["id"], "split": ("train", "train", "validation", "test")[i % 4]}
        for i, row in enumerate(rows)
    ]
    (tmp_path / "data/prepared").mkdir()
    pd.DataFrame(splits).to_parquet(tmp_path / "data/prepared/examples.parquet")
    shutil.copy(FOLDER / "params.yaml", tmp_path)
    edit(tmp_path / "params.yaml", lambda v: v["model"].update(base=str(small / "tiny")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(audit.FOLDER, str(tmp_path / "live"))
    subprocess.run([retraining.DVC, "init", "--no-scm", "--quiet"], check=True)
    return tmp_path / "live"


def test_corrected_records_join_the_examples_and_grow(live: Path) -> None:
    config = RetrainParams(**CONFIG)
    log(live, [(told(i, "letter"), truth(i)) for i in range(16, 66)])
    first = retrain.collect(live, config)
    assert len({row["report"] for row in retrain.recent(first)}) == 32
    examples = corrected.read(live / "data/examples.jsonl")
    assert {tuple(row) for row in examples} == {("input", "output", "split", "group")}
    names = {row["input"]: row["split"] for row in examples}
    assert names[told(0)] == "train" and names[told(2)] == "validation" and names[told(3)] == "test"
    assert names[told(16, "letter")] == "train", "the same record as a text that was learnt"
    log(live, [(told(i, "call"), truth(i)) for i in range(60, 100)])
    second = retrain.collect(live, config)
    before = {row["report"]: row["split"] for row in first if row["live"]}
    again = {row["output"]["people"]: row["split"] for row in second if "letter" in row["input"]}
    assert {row["output"]["people"]: before[row["report"]] for row in first if row["live"]} == again
    assert len(corrected.read(live / "data/corrected.jsonl")) == 90
    events = audit.read(live)
    assert [line["event"] for line in events] == ["data_appended"] * 2
    assert events[0]["data"] != events[1]["data"]


def test_without_texts_or_with_too_few_nothing_is_trained(live: Path) -> None:
    config = RetrainParams(**CONFIG)
    log(live, [(told(i), truth(i)) for i in range(30)], texts=False)
    with pytest.raises(retraining.Refused, match=r"is service\.log_inputs on"):
        retrain.collect(live, config)
    log(live, [(told(i, "letter"), truth(i)) for i in range(60, 80)])
    with pytest.raises(retraining.Refused, match="20 new reports are held back, too few"):
        retrain.collect(live, config)
    assert not (live / "data").exists()


def test_parameters_of_a_retraining_are_there_and_hold_elsewhere(live: Path) -> None:
    shutil.copy(FOLDER / "schema.json", live.parent)
    found = retrain.changes(live, RetrainParams(**CONFIG))
    work = live.parent / "work"
    work.mkdir()
    shutil.copy("params.yaml", work)
    retraining.configure(work, found)  # refuses what is not there
    for name in ("ingest.source", "ingest.schema", "model.base", "train.adapter"):
        assert Path(found[name]).is_absolute()
    assert Path(found["ingest.schema"]).exists() and Path(found["model.base"]).exists()


class Answers:
    """A model that answers as it is told; of the other text nothing that ends."""

    schema = NESTED

    def __init__(self, records: dict[str, Json]) -> None:
        self.records = records

    def answer(self, text: str) -> Any:
        from predictor import Answer

        if text not in self.records:
            raise BadInput("text", "its record does not end", 422)
        return Answer(self.records[text], "", None)


def test_losses_are_shares_of_wrong_fields_of_each_report() -> None:
    right = {"holder": {"name": "x", "state": "CA"}}
    right |= {"loss": {"theft": True, "media": [{"place": "Laptop"}], "people": 5}}
    wrong = {"holder": {"name": "x", "state": "NY"}, "loss": right["loss"] | {"people": None}}
    rows = [{"input": text, "output": right, "report": ord(text[0])} for text in ("a1", "b1", "a2")]
    found = retrain.losses(Answers({"a1": right, "b1": wrong}), rows)
    assert found == pytest.approx([0.5, 0.4]), "nothing is wrong of a1, all of a2, 2 of 5 of b1"


@pytest.fixture
def blueprint(small: Path, tmp_path: Path) -> Path:
    """The blueprint with a tiny base model and other texts, after its own pipeline."""
    folder = tmp_path / "app"
    ignore = shutil.ignore_patterns("data", "models", "export", "live", "simulated", "mlflow.db*")
    more = shutil.ignore_patterns("mlruns", "build", "dist", "logs", ".*", "checkpoint", "reports")
    shutil.copytree(
        FOLDER, folder, ignore=lambda path, names: ignore(path, names) | more(path, names)
    )
    (folder / "dvc.lock").unlink(missing_ok=True)
    (folder / "shared").symlink_to(Path(retraining.__file__).parent)
    draw = np.random.default_rng(0)
    rows = [{"input": told(i), "output": truth(int(draw.integers(1000)))} for i in range(60)]
    write(tmp_path / "own", rows, SCHEMA)

    def change(values: Json) -> None:
        shorten(values)
        values["ingest"] |= {"source": str(tmp_path / "own/examples.jsonl")}
        values["ingest"] |= {"schema": str(tmp_path / "own/schema.json")}
        values["model"] |= {"base": str(small / "tiny")}
        values["prepare"] |= {"instruction": "Fill in.", "stratify": None}
        values["validate"] |= {"max_other_languages": 1, "max_conflicts": 1}
        values["evaluate"] |= {"behaviour_examples": 1, "max_answer_tokens": 60}
        values["retrain"] |= {"epochs": 12, "learning_rate": 0.01, "same_record": False}

    edit(folder / "params.yaml", change)
    open_gate(folder)
    for command in (
        ["git", "init", "-q"],
        [str(retraining.DVC), "init", "--quiet"],
        ["git", "add", "-A"],
        ["git", "-c", "user.email=a@b.invalid", "-c", "user.name=a", "commit", "-qm", "x"],
        [str(retraining.DVC), "repro"],
    ):
        subprocess.run(command, cwd=folder, env=environment(tmp_path), check=True)
    return folder


def environment(base: Path) -> dict[str, str]:
    unwanted = ("MLFLOW_TRACKING_URI", audit.FOLDER)
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"BENTOML_HOME": str(base / "bentoml"), "PATH": path}


@pytest.mark.long
@pytest.mark.pipeline
def test_what_clerks_correct_alike_is_learnt_and_served(blueprint: Path, tmp_path: Path) -> None:
    """All letters have the same record, which even a model of two small layers learns."""
    live = blueprint / "live"
    log(live, [(told(i, "letter"), {"people": 7, "kind": "b"}) for i in range(90)])
    command = [sys.executable, "retrain.py", "--key-result", "KR4"]
    subprocess.run(command, cwd=blueprint, env=environment(tmp_path), check=True)
    events = {line["event"]: line for line in audit.read(live)}
    steps = ["data_appended", "reproduced", "challenger", "compared", "promoted"]
    assert list(events) == steps and events["compared"]["low"] > 0
    assert lineage.current(live) == events["challenger"]["version"]
    assert (lineage.serving(live) / "model.onnx").exists()
