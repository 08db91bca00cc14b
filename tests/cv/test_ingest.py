"""Files as people have them: folders, CSVs, odd encodings, broken images."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ingest import IngestParams, inspect, read_source, subset
from PIL import Image


def config(source: Path, **given: Any) -> IngestParams:
    values = {"positive": "bad", "limit": None, "max_megapixels": 50, "seed": 0}
    return IngestParams(source=str(source), **(values | given))


def picture(path: Path, **given: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **given)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, suffix in (("bad", "png"), ("bad", "jpg"), ("good", "tiff"), ("good", "bmp")):
        picture(tmp_path / label / f"1.{suffix}")
    return tmp_path


def test_a_folder_per_class_is_read_with_its_labels(folder: Path) -> None:
    table = read_source(config(folder))
    assert table["label"].tolist() == ["bad", "bad", "good", "good"]
    assert table["probability"].isna().all() and (table["group"] == "").all()


def test_every_format_is_looked_at(folder: Path) -> None:
    rows = [inspect(path, 50) for path in read_source(config(folder))["path"]]
    assert [row["problem"] for row in rows] == [""] * 4
    assert {(row["width"], row["height"], row["gray"]) for row in rows} == {(50, 40, False)}


def test_a_csv_with_a_byte_order_mark_and_optional_columns(folder: Path) -> None:
    text = "path,label,probability,group\nbad/1.png,bad,0.67,a\ngood/1.bmp,good,,b\n"
    (folder / "mine.csv").write_text(text, encoding="utf-8-sig")
    table = read_source(config(folder / "mine.csv"))
    assert table["probability"].tolist()[0] == 0.67 and np.isnan(table["probability"][1])
    assert table["group"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,label\na.png,bad\n", "missing columns \\['path'\\], unknown columns \\['file'\\]"),
        ("path,label\nü.png,bad\n".encode("latin-1"), "not a UTF-8 CSV"),
        (b"", "not a UTF-8 CSV"),
        (b"path,label\na.png,good\n", "ingest.positive: bad is not among the labels"),
    ],
)
def test_a_wrong_csv_is_named_with_its_mistake(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        read_source(config(tmp_path))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"ingest\.source: .*nowhere is neither"):
        read_source(config(tmp_path / "nowhere"))


def test_broken_files_are_rows_with_a_reason(tmp_path: Path) -> None:
    whole = picture(tmp_path / "a.png").read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    reasons = {
        name: inspect(str(tmp_path / f"{name}.png"), 50)["problem"]
        for name in ("empty", "cut", "text", "none")
    }
    assert "is empty" in reasons["empty"] and "truncated" in reasons["cut"]
    assert "not a readable" in reasons["text"] and "No such file" in reasons["none"]
    assert "megapixels" in inspect(str(tmp_path / "a.png"), 0.001)["problem"]
    assert inspect(str(tmp_path / "a.png"), 50)["sha256"] == hashlib.sha256(whole).hexdigest()


def test_a_subset_keeps_the_shares_of_the_classes() -> None:
    table = pd.DataFrame({"path": range(100), "label": ["bad"] * 20 + ["good"] * 80})
    drawn = subset(table, 10, seed=0)
    assert drawn["label"].value_counts().to_dict() == {"good": 8, "bad": 2}
    assert subset(table, 10, seed=0).equals(drawn) and not subset(table, 10, seed=1).equals(drawn)


def test_sixteen_bit_files_are_looked_at(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 50), 40_000, np.uint16)).save(buffer, "TIFF")
    (tmp_path / "deep.tiff").write_bytes(buffer.getvalue())
    row = inspect(str(tmp_path / "deep.tiff"), 50)
    assert row["problem"] == "" and row["gray"] and row["brightness"] == 40_000 >> 8
