"""Batch scoring with a small real ONNX model: unreadable files, resume after a kill."""

import json
from pathlib import Path

import batch
import numpy as np
import onnx
import pandas as pd
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
    batch.run(pictures, result, predictor, threads=1)
    whole = result.read_bytes()
    rows = [json.dumps(batch.score(predictor, path)) for path in sorted(pictures.iterdir())[:2]]
    journal = tmp_path / "scores.csv.journal"
    journal.write_text(rows[0] + "\n" + rows[1][:-9])
    scored: list[str] = []
    score = batch.score
    monkeypatch.setattr(
        batch, "score", lambda found, path: scored.append(path.name) or score(found, path)
    )
    batch.run(pictures, result, predictor, threads=1)
    assert (
        scored == ["1.png", "2.png", "3.png"]
        and result.read_bytes() == whole
        and not journal.exists()
    )


def test_a_csv_of_paths_is_read_and_a_wrong_one_refused(
    predictor: Predictor, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "list.csv").write_text("path\n2.png\nnot there.png\n")
    table = batch.run(pictures / "list.csv", tmp_path / "scores.csv", predictor, threads=1)
    assert table["label"][0] == "bright" and "No such file" in table["error"][1]
    (pictures / "list.csv").write_text("file\n2.png\n")
    with pytest.raises(SystemExit, match="no column 'path'; found file"):
        batch.sources(pictures / "list.csv")
    with pytest.raises(SystemExit, match=r"must end in \.parquet or \.csv"):
        batch.run(pictures, tmp_path / "scores.txt", predictor, threads=1)
