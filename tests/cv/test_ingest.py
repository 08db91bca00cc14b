"""Files as people have them: folders, CSVs, odd encodings, broken images, links, strange names."""

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import ingest
import manifest
import numpy as np
import pandas as pd
import prepare
import pytest
import quantising
import retrain
import traffic
import yaml
from dataset import samples
from ingest import IngestParams, inspect, read_source, subset
from PIL import Image

from shared import params


def config(source: Path, **given: Any) -> IngestParams:
    values = {"positive": "bad", "limit": None, "max_megapixels": 50, "seed": 0}
    return IngestParams(source=str(source), **(values | given))


def picture(path: Path, **given: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **given)
    return path


def problem(path: Path, max_megapixels: float = 50) -> str:
    return str(inspect(str(path), max_megapixels)["problem"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, suffix in (("bad", "png"), ("bad", "jpg"), ("good", "tiff"), ("good", "bmp")):
        picture(tmp_path / "mine" / label / f"1.{suffix}")
    return tmp_path / "mine"


@pytest.fixture
def ingested(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the stage on `folder` and gives its manifest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "stage", params.read)  # twice in one process: no lock

    def run(**given: Any) -> pd.DataFrame:
        values = config(folder, **given).model_dump()
        Path("params.yaml").write_text(yaml.safe_dump({"ingest": values}))
        ingest.main()
        return manifest.read(Path("data/raw/manifest.csv"))

    return run


def test_a_folder_per_class_is_read_with_its_labels(folder: Path) -> None:
    table = read_source(config(folder))
    assert table["label"].tolist() == ["bad", "bad", "good", "good"]
    assert table["probability"].isna().all() and (table["group"] == "").all()


def test_nested_folders_have_the_label_of_the_first_one(folder: Path) -> None:
    picture(folder / "bad/monday/shift 2/x.png")
    assert read_source(config(folder))["label"].tolist() == ["bad"] * 3 + ["good"] * 2


def test_hidden_files_and_folders_are_left_out(folder: Path) -> None:
    for name in (".thumbnails/1.png", "bad/.DS_Store.png", "good/.cache/1.png"):
        picture(folder / name)
    assert len(read_source(config(folder))) == 4


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    with pytest.raises(SystemExit, match="no sub-folder with files; make one for each class"):
        read_source(config(tmp_path))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_is_looked_at_gray_and_in_colour(
    tmp_path: Path, suffix: str, mode: str
) -> None:
    path = picture(tmp_path / "colour.png")
    Image.open(path).convert(mode).save(tmp_path / f"x.{suffix}")
    row = inspect(str(tmp_path / f"x.{suffix}"), 50)
    assert row["problem"] == "" and (row["width"], row["height"]) == (50, 40)
    assert row["gray"] == (mode == "L") and len(row["perceptual_hash"]) == 64


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_files_are_looked_at(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.full((40, 50), 40_000, np.uint16)).save(tmp_path / f"deep.{suffix}")
    row = inspect(str(tmp_path / f"deep.{suffix}"), 50)
    assert row["problem"] == "" and row["gray"] and row["brightness"] == 40_000 >> 8


def test_broken_files_are_rows_with_a_reason(tmp_path: Path) -> None:
    whole = picture(tmp_path / "a.png").read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    assert "is empty" in problem(tmp_path / "empty.png")
    assert "truncated" in problem(tmp_path / "cut.png")
    assert "not a readable" in problem(tmp_path / "text.png")
    assert "No such file" in problem(tmp_path / "none.png")
    assert "megapixels" in problem(tmp_path / "a.png", 0.001)
    assert inspect(str(tmp_path / "a.png"), 50)["sha256"] == hashlib.sha256(whole).hexdigest()


def test_what_is_no_file_neither_blocks_nor_fills_the_memory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "huge.tiff").open("wb") as file:
        file.truncate(10**12)  # sparse: takes no space
    assert "folder or a device" in problem(tmp_path / "pipe.png")
    assert "folder or a device" in problem(tmp_path)
    assert "folder or a device" in problem(Path("/dev/zero"))
    assert "too large for 50 megapixels" in problem(tmp_path / "huge.tiff")
    assert "null byte" in problem(tmp_path / "a\0.png")


def test_links_are_followed_to_files_and_reported_when_they_lead_nowhere(folder: Path) -> None:
    (folder / "bad/linked.png").symlink_to(folder / "good/1.bmp")
    (folder / "bad/nowhere.png").symlink_to(folder / "gone.png")
    (folder / "bad/round").symlink_to(folder)
    table = read_source(config(folder)).set_index("path")
    assert len(table) == 6, "the link to a folder is not entered"
    assert problem(folder / "bad/linked.png") == ""
    assert "No such file" in problem(folder / "bad/nowhere.png")


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
        (b"path,label,problem\na.png,bad,x\n", "unknown columns \\['problem'\\]"),
        (b"path;label\na.png;bad\n", "missing columns \\['label', 'path'\\]"),
        ("path,label\nü.png,bad\n".encode("latin-1"), "not a UTF-8 CSV"),
        (b"", "not a UTF-8 CSV"),
        (b"path,label\na,bad\nb,bad,1,2,3\n", "not a UTF-8 CSV: .*line 3"),
        (b"path,label\na.png,good\n", "ingest.positive: bad is not among the labels"),
        (b"path,label\n", "ingest.positive: bad is not among the labels"),
        (
            b"path,label,split\na,bad,train\nb,bad,Val\n",
            "csv: b: split 'Val' is unknown; write train, validation, test, or leave it empty",
        ),
    ],
)
def test_a_wrong_csv_is_named_with_its_mistake(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        read_source(config(tmp_path))


def test_splits_of_a_csv_are_kept_without_spaces_and_may_be_empty(folder: Path) -> None:
    lines = ["path,label,split", "a,bad,train ", "b,bad, validation", "c,good,test", "d,good,"]
    (folder / "labels.csv").write_text("\n".join(lines))
    assert read_source(config(folder))["split"].tolist() == ["train", "validation", "test", ""]


def test_a_csv_may_point_anywhere_and_name_a_file_twice(folder: Path, ingested: Any) -> None:
    outside = picture(folder.parent / "elsewhere/x.png")
    lines = [f"{outside},bad", "../elsewhere/x.png,bad", "bad/1.png,bad", "bad/1.png,good", ",bad"]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines]))
    table = ingested()
    assert (
        sorted(table["path"][table["problem"] == ""]) == ["bad/1.png"] * 2 + ["elsewhere/x.png"] * 2
    )
    assert table["problem"][table["path"].str.endswith("mine")].tolist() == [
        "file: is a folder or a device"
    ]


@pytest.mark.parametrize("text", ["high", "nan", "0,5x", "--"])
def test_a_probability_that_is_no_number_is_a_problem_of_its_row(
    folder: Path, ingested: Any, text: str
) -> None:
    lines = ["path,label,probability", f'bad/1.png,bad,"{text}"', "good/1.bmp,good,0.25"]
    (folder / "labels.csv").write_text("\n".join(lines))
    table = ingested()
    assert table["problem"].tolist() == [f"probability: not a number: {text}", ""]
    assert len(list(Path("data/raw/images").iterdir())) == 1, "what has a problem is not copied"


def test_missing_cells_and_trailing_commas_do_not_shift_columns(
    folder: Path, ingested: Any
) -> None:
    (folder / "labels.csv").write_text("path,label,\nbad/1.png,bad,\ngood/1.bmp\n")
    with pytest.raises(SystemExit, match="unknown columns"):
        ingested()
    (folder / "labels.csv").write_text("path,label\nbad/1.png,bad,\ngood/1.bmp,good,\n")
    assert ingested()["label"].tolist() == ["bad", "good"]
    (folder / "labels.csv").write_text("path,label\nbad/1.png, bad\ngood/1.bmp\n")
    assert ingested()["label"].tolist() == ["bad", ""]


def test_labels_of_mixed_types_stay_the_texts_that_they_are(folder: Path, ingested: Any) -> None:
    written = ["bad", "1", "1.0", "007", "True", "nan", "\"['a', 'b']\"", "", "  "]
    (folder / "labels.csv").write_text(
        "\n".join(["path,label", *(f"bad/1.png,{label}" for label in written)])
    )
    told = ["bad", "1", "1.0", "007", "True", "nan", "['a', 'b']", "", ""]
    assert ingested()["label"].tolist() == told


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"ingest\.source: .*nowhere is neither"):
        read_source(config(tmp_path / "nowhere"))


def test_the_manifest_keeps_strange_names_and_no_folder_of_the_machine(
    folder: Path, ingested: Any
) -> None:
    names = ["zelle ü 太阳.png", "a,b\"c'.png", "x." + "y" * 240, "new\nline.png"]
    for name in names:
        (folder / "bad" / name).write_bytes((folder / "bad/1.png").read_bytes())
    Path(os.fsdecode(bytes(folder / "bad") + b"/\xff.png")).write_bytes(b"no picture")
    table = ingested()
    assert {f"bad/{name}" for name in [*names, "?.png"]} <= set(table["path"])
    assert str(folder.parent) not in Path("data/raw/manifest.csv").read_text(encoding="utf-8")
    suffixes = {path.suffix for path in Path("data/raw/images").iterdir()}
    assert suffixes == {".png", ".jpg", ".tiff", ".bmp", ".image"}


def test_later_stages_read_images_whose_names_have_no_known_suffix(
    folder: Path, ingested: Any
) -> None:
    lines = ["path,label,split"]
    for split in ("train", "validation", "test"):
        picture(folder / f"IMG_{split}", format="PNG")
        picture(folder / f"{split}.dat", format="JPEG")
        lines += [f"IMG_{split},bad,{split}", f"{split}.dat,good,{split}"]
    (folder / "labels.csv").write_text("\n".join(lines))
    table = ingested()
    assert (table["problem"] == "").all()
    table.assign(twins=range(6)).to_csv("data/checked.csv", index=False)
    sizes = {"image_size": 32, "test_share": 0.25, "validation_share": 0.15, "seed": 0}
    sections = {"prepare": sizes, "ingest": {"positive": "bad"}}
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    prepare.main()
    for name in samples()["image"]:  # what `export` reads
        assert quantising.picture(name).shape == (40, 50, 3)
    assert base64.b64decode(next(traffic.items("none", seed=0)).body["image"])
    kept = retrain.former()
    assert len(kept) == 6 and all(Path(path).is_file() for path in kept["path"])


def test_labels_that_look_like_missing_values_are_labels(folder: Path, ingested: Any) -> None:
    for name in ("None", "NA", "null"):
        picture(folder / name / "1.png")
    assert set(ingested()["label"]) == {"bad", "good", "None", "NA", "null"}


def test_a_second_run_gives_the_same_bytes_and_leaves_nothing_behind(ingested: Any) -> None:
    whole = ingested()
    again = Path("data/raw/manifest.csv").read_bytes()
    ingested()
    assert Path("data/raw/manifest.csv").read_bytes() == again
    assert len(ingested(limit=2)) == 2 < len(whole)
    assert len(list(Path("data/raw/images").iterdir())) == 2


def test_files_that_are_all_broken_still_make_a_manifest(folder: Path, ingested: Any) -> None:
    for path in folder.rglob("*.*"):
        path.write_bytes(b"")
    table = ingested()
    assert (table["problem"] == "image: is empty").all() and table["width"].isna().all()


def test_a_subset_keeps_the_shares_of_the_classes() -> None:
    table = pd.DataFrame({"path": range(100), "label": ["bad"] * 20 + ["good"] * 80})
    drawn = subset(table, 10, seed=0)
    assert drawn["label"].value_counts().to_dict() == {"good": 8, "bad": 2}
    assert subset(table, 10, seed=0).equals(drawn) and not subset(table, 10, seed=1).equals(drawn)


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in ({"limit": 0}, {"limit": -5}, {"max_megapixels": 0}):
        with pytest.raises(ValueError, match="greater than 0"):
            config(Path("x"), **wrong)
