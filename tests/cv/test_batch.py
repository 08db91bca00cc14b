"""Batch scoring with a small real ONNX model: bad files, resume after a kill, bad targets."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import batch
import numpy as np
import onnx
import pandas as pd
import pyarrow.parquet
import pytest
from onnx import TensorProto, helper
from PIL import Image
from predictor import Predictor


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    """Probability of `bright`: the mean of all values over 255."""
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Unsqueeze", ["bright", "last"], ["bright_column"]),
        helper.make_node("Unsqueeze", ["dark", "last"], ["dark_column"]),
        helper.make_node("Concat", ["bright_column", "dark_column"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    folder = tmp_path / "export"
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
        folder / "m.onnx",
    )
    meta = {
        "classes": ["bright", "dark"],
        "positive": "bright",
        "threshold": 0.3,
        "max_megapixels": 1,
    }
    (folder / "model.json").write_text(json.dumps(meta))
    return Predictor(folder, "m.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, value in enumerate([0, 102, 255]):
        Image.fromarray(np.full((20, 20), value, np.uint8)).save(folder / f"{i}.png")
    (folder / "3.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_every_file_has_a_row_and_a_broken_one_its_reason(
    predictor: Predictor, pictures: Path, tmp_path: Path, suffix: str
) -> None:
    result = tmp_path / f"scores.{suffix}"
    batch.run(pictures, result, predictor, threads=2)
    table = pd.read_parquet(result) if suffix == "parquet" else pd.read_csv(result)
    assert table["probability"].tolist()[:3] == pytest.approx([0, 0.4, 1])
    assert table["label"].tolist()[:3] == ["dark", "dark", "bright"]
    assert table["decision"].tolist()[:3] == ["dark", "bright", "bright"], "the threshold is .3"
    assert "not a readable" in table["error"][3] and table["error"][:3].isna().all()


def test_a_killed_run_goes_on_and_scores_a_torn_line_again(
    predictor: Predictor, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "scores.csv"
    batch.run(pictures, result, predictor, threads=1, mark="m")
    whole = result.read_bytes()
    rows = [
        json.dumps(batch.score(str(path), predictor)) for path in sorted(pictures.iterdir())[:2]
    ]
    journal = tmp_path / "scores.csv.journal"
    scored: list[str] = []
    score = batch.score
    monkeypatch.setattr(
        batch, "score", lambda path, predictor: scored.append(path) or score(path, predictor)
    )
    journal.write_text("\n".join([json.dumps({"model": "m"}), rows[0], rows[1][:-9]]))
    batch.run(pictures, result, predictor, threads=1, mark="m")
    assert [Path(path).name for path in scored] == ["1.png", "2.png", "3.png"]
    assert result.read_bytes() == whole and not journal.exists()


def test_what_another_model_scored_is_not_taken_over(
    predictor: Predictor, pictures: Path, tmp_path: Path
) -> None:
    result = tmp_path / "scores.csv"
    row = {"path": str(pictures / "0.png"), "label": "bright", "probability": 9.0}
    lines = [json.dumps({"model": "old"}), json.dumps(row)]
    (tmp_path / "scores.csv.journal").write_text("\n".join(lines))
    assert batch.run(pictures, result, predictor, threads=1, mark="new")["probability"][0] == 0


def test_an_older_result_stays_until_the_new_one_is_complete(
    predictor: Predictor, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "scores.csv"
    result.write_text("older")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(pd.DataFrame, "to_csv", full)
        batch.run(pictures, result, predictor, threads=1)
    assert result.read_text() == "older"
    assert sorted(path.suffix for path in tmp_path.glob("*scores*")) == [".csv", ".journal"]
    batch.run(pictures, result, predictor, threads=1)
    assert len(pd.read_csv(result)) == 4


def test_a_result_among_the_images_is_no_image(predictor: Predictor, pictures: Path) -> None:
    (pictures / ".hidden").mkdir()
    (pictures / ".hidden/x.png").write_bytes(b"")
    for _ in range(2):
        table = batch.run(pictures, pictures / "scores.csv", predictor, threads=1)
        assert [Path(path).name for path in table["path"]] == ["0.png", "1.png", "2.png", "3.png"]


def test_columns_have_the_same_types_whatever_the_images_are(
    predictor: Predictor, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/x.png").write_bytes(b"")
    (tmp_path / "none").mkdir()
    schemas = []
    for folder in (pictures, tmp_path / "bad", tmp_path / "none"):
        batch.run(folder, tmp_path / "scores.parquet", predictor, threads=1)
        schemas.append(pyarrow.parquet.read_schema(tmp_path / "scores.parquet"))
    assert schemas[0].equals(schemas[1]) and schemas[1].equals(schemas[2])


def test_names_that_are_no_text_do_not_stop_the_run_at_its_end(
    predictor: Predictor, tmp_path: Path
) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    Path(os.fsdecode(bytes(folder) + b"/\xff.png")).write_bytes(b"")
    for suffix in ("parquet", "csv"):
        table = batch.run(folder, tmp_path / f"scores.{suffix}", predictor, threads=1)
        assert table["path"][0].endswith("?.png")


def test_a_csv_of_paths_is_read_and_a_wrong_one_refused(
    predictor: Predictor, pictures: Path, tmp_path: Path
) -> None:
    listed = pictures / "list.csv"
    listed.write_text("path\n2.png\nnot there.png\n2.png\n\n.\n")
    table = batch.run(listed, tmp_path / "scores.csv", predictor, threads=1)
    assert table["label"].tolist()[::2] == ["bright", "bright"] and "No such" in table["error"][1]
    assert "is a folder" in table["error"][3]
    listed.write_text("file\n2.png\n")
    with pytest.raises(SystemExit, match="no column 'path'; found file"):
        batch.sources(listed)
    for content in (b"", "path\nü.png\n".encode("latin-1")):
        listed.write_bytes(content)
        with pytest.raises(SystemExit, match="not a UTF-8 CSV"):
            batch.sources(listed)
    for wrong in (tmp_path / "scores.txt", tmp_path):
        with pytest.raises(SystemExit, match=r"must be a file that ends in \.parquet or \.csv"):
            batch.run(pictures, wrong, predictor, threads=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--help"], "goes on where it was"),
        (["--threads", "0"], "--threads: at least 1"),
        (["--model", "other.onnx"], "other.onnx is not there; run dvc repro"),
        ([], "File exists; when it is mended, the same command goes on"),
    ],
)
def test_the_command_explains_itself_and_its_errors(
    predictor: Predictor,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(batch, "EXPORT", tmp_path / "export")
    target = str(pictures / "0.png/scores.csv")  # below a file nothing can be written
    command = ["batch.py", str(pictures), target, "--model", "m.onnx", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        batch.main()
    said = capsys.readouterr()
    assert message in f"{said.out}{said.err}{stopped.value}"


def test_the_list_of_images_is_not_replaced_by_the_result(
    predictor: Predictor, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"path\n{pictures / '0.png'}\n")
    before = listed.read_bytes()
    monkeypatch.setattr(sys, "argv", ["batch.py", str(listed), str(tmp_path / "." / "list.csv")])
    with pytest.raises(SystemExit):
        batch.main()
    assert listed.read_bytes() == before and not list(tmp_path.glob("*.partial"))
