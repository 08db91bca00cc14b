"""Data that were tampered with reach no release: `validate` or the gate refuses them. Goal P5."""

import csv
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from copied import App, edit, run

pytestmark = [pytest.mark.pipeline, pytest.mark.fault]

Rows = list[dict[str, str]]
OTHER = {"nought": "one", "one": "nought"}
GATE = ["python", "-m", "shared.objectives", "gate"]


def ask_more(document: dict[str, Any]) -> None:
    """A release needs an AUC that these images reach with their true labels."""
    for objective in document["objectives"]:
        for result in objective["key_results"]:
            if result["metric"] == "test.auc":
                result["at_least"] = 0.97


@pytest.fixture
def copy(reproduced: App, tmp_path: Path) -> App:
    """A copy of the folder with results that its gate lets pass."""
    app = App(tmp_path / "app", reproduced.environment)
    shutil.copytree(reproduced.folder, app.folder, symlinks=True)
    edit(app.folder / "objectives.yaml", ask_more)
    run(GATE, *app)
    return app


def rows(app: App) -> Rows:
    """The usable images: path, label, and the split for which they were prepared."""
    source = Path(yaml.safe_load((app.folder / "params.yaml").read_text())["ingest"]["source"])
    with (app.folder / "data/prepared/samples.csv").open() as file:
        found = [
            {key: row[key] for key in ("path", "label", "split")} for row in csv.DictReader(file)
        ]
    return [row | {"path": str(source / row["path"])} for row in found]


def give(app: App, tampered: Rows) -> None:
    """These rows are the folder's images from now on."""
    path = app.folder.with_suffix(".csv")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "split"])
        writer.writeheader()
        writer.writerows(tampered)
    edit(app.folder / "params.yaml", lambda values: values["ingest"].update(source=str(path)))


def refused(app: App, *command: str) -> str:
    done = subprocess.run(
        command, cwd=app.folder, env=app.environment, capture_output=True, text=True
    )
    assert done.returncode != 0, done.stdout[-2000:]
    return done.stdout + done.stderr


def test_true_labels_from_a_list_are_accepted(copy: App) -> None:
    give(copy, rows(copy))
    run(["dvc", "repro", "validate"], *copy)


def test_shuffled_labels_are_refused(copy: App) -> None:
    true = rows(copy)
    labels = random.Random(0).sample([row["label"] for row in true], len(true))
    give(copy, [row | {"label": label} for row, label in zip(true, labels, strict=True)])
    said = refused(copy, "dvc", "repro", "validate")
    assert "validate: label_signal_auc" in said and "below validate.min_label_signal" in said


def test_test_images_among_those_learnt_from_are_refused(copy: App) -> None:
    true = rows(copy)
    leaked = [row | {"split": "train"} for row in true if row["split"] == "test"]
    give(copy, true + leaked[:5])
    assert "validate: twins in different splits: " in refused(copy, "dvc", "repro", "validate")


def test_the_same_image_with_two_labels_is_refused(copy: App) -> None:
    true = rows(copy)
    give(copy, true + [row | {"label": OTHER[row["label"]]} for row in true[:5]])
    assert "above validate.max_label_conflicts" in refused(copy, "dvc", "repro", "validate")


def test_a_tenth_of_the_labels_flipped_is_refused(copy: App) -> None:
    """`validate` lists them as doubtful and goes on; the gate measures what they cost."""
    true = rows(copy)
    flipped = set(random.Random(0).sample(range(len(true)), len(true) // 10))
    give(
        copy,
        [
            row | {"label": OTHER[row["label"]] if number in flipped else row["label"]}
            for number, row in enumerate(true)
        ],
    )
    run(["dvc", "repro", "evaluate"], *copy)
    assert "gate: KR1 missed: test.auc target >= 0.97" in refused(copy, *GATE)
