"""What people label next, and their labels back."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from shared import labelling

ROWS = [{"id": f"r{i}", "probability": i / 10, "image": "aGk="} for i in range(10)]


def test_the_rows_that_tell_most_come_first_in_both_files(tmp_path: Path) -> None:
    """In turns: the first of each reason, the second of each; without any, in their order."""
    reasons: dict[str, labelling.Measure] = {
        "doubt": lambda row: 1 - abs(row["probability"] - 0.5),
        "drift": lambda row: max(0.0, row["probability"] - 0.6) * 1000,
    }
    assert labelling.write(ROWS, reasons, 6, tmp_path) == 6
    table = list(csv.DictReader((tmp_path / "labelling.csv").open()))
    assert [row["request_id"] for row in table] == ["r5", "r9", "r4", "r8", "r6", "r7"]
    assert table[1]["doubt"] == "0.6000" and table[1]["drift"] == "300.0000"
    assert "aGk=" not in (tmp_path / "labelling.csv").read_text(), "no pictures in a spreadsheet"
    tasks = json.loads((tmp_path / "labelling.json").read_text())
    assert tasks[1]["meta"] == {"doubt": 0.6, "drift": 300.0}
    assert tasks[0]["data"]["image"] == "data:image/png;base64,aGk="
    assert [one["data"]["request_id"] for one in tasks] == [row["request_id"] for row in table]
    labelling.write(ROWS, {"doubt": lambda row: 0.0, "drift": lambda row: 0.0}, 2, tmp_path)
    tasks = json.loads((tmp_path / "labelling.json").read_text())
    assert [one["data"]["request_id"] for one in tasks] == ["r0", "r1"]


def test_a_table_comes_back_with_text_numbers_and_gaps(tmp_path: Path) -> None:
    table = tmp_path / "truths.csv"
    rows = 'request_id,truth\na,good\nb,"[1.5, 2]"\nc,12\nd,\ne,NaN\n'
    table.write_text(rows, encoding="utf-8-sig")
    assert list(labelling.truths(table)) == [
        ("a", "good"),
        ("b", [1.5, 2]),
        ("c", 12),
        ("e", "NaN"),
    ]
    table.write_text("id,truth\na,good\n")
    with pytest.raises(SystemExit, match="missing columns request_id"):
        list(labelling.truths(table))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (str, "1", "1"),
        (str, "good", "good"),
        (float, "12", 12.0),
        (dict[str, float] | list[float], "[1, 2.5]", [1.0, 2.5]),
        (dict[str, Any], '{"people": 3}', {"people": 3}),
    ],
)
def test_a_truth_has_the_type_that_the_model_asks_for(
    tmp_path: Path, kind: Any, text: str, value: Any
) -> None:
    table = tmp_path / "truths.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("request_id", "truth"), ("a", text)])
    assert list(labelling.truths(table, kind)) == [("a", value)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [(float, "n/a"), (float, "NaN"), (list[float], "12"), (dict[str, Any], '{"a": 1e999}')],
)
def test_a_truth_of_another_type_is_named(tmp_path: Path, kind: Any, text: str) -> None:
    table = tmp_path / "truths.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("request_id", "truth"), ("r7", text)])
    with pytest.raises(SystemExit, match=r"truths\.csv: r7: truth .* is no "):
        list(labelling.truths(table, kind))


def test_an_export_of_label_studio_comes_back(tmp_path: Path) -> None:
    def done(name: str, *values: dict[str, list[str]]) -> dict[str, Any]:
        annotations = [{"result": [{"value": value}]} for value in values]
        return {"data": {"request_id": name}, "annotations": annotations}

    tasks = [done("a", {"choices": ["good"]}, {"choices": ["defective"]}), done("skipped")]
    tasks += [done("changed", {"choices": ["good"]}), done("begun", {"choices": ["good"]})]
    skipped = {"was_cancelled": True, "result": [{"value": {"choices": ["defective"]}}]}
    for task in tasks[-2:]:
        task["annotations"].append(skipped)
    tasks[-1]["annotations"].pop(0)
    tasks += [done("c", {"text": ['{"people": 3}']})]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    wanted = [("a", "defective"), ("changed", "good"), ("c", {"people": 3})]
    assert list(labelling.truths(path)) == wanted
    path.write_text('{"not": "a list of tasks"}')
    with pytest.raises(SystemExit, match="not an export of Label Studio"):
        list(labelling.truths(path))
