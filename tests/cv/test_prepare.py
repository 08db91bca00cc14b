"""No image, group or twin is in two splits, each stratum is in all; pixels are the graph's."""

from pathlib import Path

import numpy as np
import pandas as pd
import prepare
import pytest
import twins
import yaml
from model import resize
from PIL import Image
from prepare import PrepareParams, split
from pydantic import ValidationError

CONFIG = PrepareParams(image_size=64, test_share=0.25, validation_share=0.15, seed=0)


def table(rows: int = 400) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": [f"x/{i}.png" for i in range(rows)],
            "label": ["bad", "good", "good", "good"] * (rows // 4),
            "probability": [1.0, 0.0, 0.0, 1 / 3] * (rows // 4),
            "subgroup": ["mono"] * (rows // 2) + ["poly"] * (rows // 2),
            "group": "",
            "split": "",
            "twins": range(rows),
        }
    )


def test_the_shares_and_strata_are_kept() -> None:
    given = table()
    drawn = split(given, CONFIG)
    assert drawn.value_counts(normalize=True).to_dict() == pytest.approx(
        {"test": 0.25, "validation": 0.107, "train": 0.643}, abs=0.03
    )
    bad = (given["label"] == "bad").groupby(drawn).mean()
    assert bad.to_numpy() == pytest.approx([0.25] * 3, abs=0.03)
    assert split(given, CONFIG).equals(drawn), "the seed decides"


def test_groups_and_twins_stay_together() -> None:
    given = table().assign(group=[str(i // 8) for i in range(400)])
    given.loc[399, "twins"] = 0  # ties the first group to the last
    drawn = split(given, CONFIG)
    assert drawn.groupby(given["group"]).nunique().max() == 1 and drawn[0] == drawn[399]


def test_rows_are_parts_of_their_own_unless_a_group_is_given() -> None:
    given = table(8).assign(twins=[0, 0, 1, 2, 3, 4, 5, 6])
    assert twins.parts(given).tolist() == list(range(8))
    given.loc[[6, 7], "group"] = "one part"
    assert twins.parts(given).tolist() == [0, 0, 1, 2, 3, 4, 5, 5]


def test_a_given_split_is_kept_and_checked() -> None:
    given = table(8).assign(split=["train"] * 4 + ["validation"] * 2 + ["test"] * 2)
    assert split(given, CONFIG).tolist() == given["split"].tolist()
    with pytest.raises(SystemExit, match=r"a group lies in two splits: x/0\.png"):
        split(given.assign(group="one part"), CONFIG)
    with pytest.raises(SystemExit, match="no rows for \\['test'\\]"):
        split(given.assign(split=["train"] * 6 + ["validation"] * 2), CONFIG)


def test_what_a_given_split_leaves_open_is_drawn() -> None:
    given = table()
    given.loc[given.index % 5 == 0, "split"] = "test"
    drawn = split(given, CONFIG)
    assert (drawn[given["split"] == "test"] == "test").all() and (drawn == "test").sum() == 80
    assert 0.1 < (drawn == "validation").mean() < 0.2 and (drawn == "train").any()


def test_validation_is_drawn_from_given_train_rows_where_none_is_given() -> None:
    given = table().assign(group=[str(i // 8) for i in range(400)])
    given["split"] = np.where(given["group"].astype(int) % 5 == 0, "test", "train")
    drawn = split(given, CONFIG)
    assert (drawn[given["split"] == "test"] == "test").all() and (drawn == "test").sum() == 80
    assert (drawn == "validation").sum() / 320 == pytest.approx(1 / 7, abs=0.03)
    bad = (given["label"] == "bad").groupby(drawn).mean()
    assert bad.to_numpy() == pytest.approx([0.25] * 3, abs=0.03)
    assert drawn.groupby(given["group"]).nunique().max() == 1
    assert split(given, CONFIG).equals(drawn), "the seed decides"
    assert not split(given, CONFIG.model_copy(update={"seed": 1})).equals(drawn)


def test_a_row_without_a_split_is_train_where_the_other_splits_are_given() -> None:
    given = table(8).assign(split=["train", ""] * 2 + ["validation"] * 2 + ["test"] * 2)
    assert split(given, CONFIG).tolist() == ["train"] * 4 + given["split"].tolist()[4:]


def test_a_few_rows_without_a_split_join_those_given_as_train() -> None:
    given = table().assign(split=["train"] * 300 + ["test"] * 97 + [""] * 3)
    drawn = split(given, CONFIG)
    assert (drawn == "test").sum() == 97 and 30 < (drawn == "validation").sum() < 55


def test_too_few_rows_to_draw_a_split_from_are_refused() -> None:
    given = table().assign(split=["train"] * 397 + [""] * 3)
    with pytest.raises(SystemExit, match=r"no rows for \['test'\]: .* to draw from are too few"):
        split(given, CONFIG)
    with pytest.raises(SystemExit, match=r"no rows for \['train', 'validation'\]"):
        split(given.assign(split="test"), CONFIG)


@pytest.mark.parametrize("name", ["test", "validation"])
def test_a_label_that_training_never_sees_is_refused(name: str) -> None:
    given = table(16).assign(split=["train"] * 8 + ["validation"] * 4 + ["test"] * 4)
    given.loc[8 if name == "validation" else 12, "label"] = "crack"
    wanted = f"label 'crack' is in {name}, not in train: give some of its rows split train, or"
    with pytest.raises(SystemExit, match=wanted):
        split(given, CONFIG)


@pytest.mark.parametrize("name", ["test", "validation"])
@pytest.mark.parametrize(("positive", "kind"), [("bad", "no"), ("good", "only")])
def test_a_split_with_one_side_only_is_refused(name: str, positive: str, kind: str) -> None:
    given = table(40).assign(split=(["train"] * 2 + ["validation", "test"]) * 10)
    given.loc[given["split"] != "train", "label"] = "good"
    other = "test" if name == "validation" else "validation"
    given.loc[given.index[given["split"] == other][0], "label"] = "bad"
    drawn = given.assign(split=split(given, CONFIG))
    told = rf"prepare: {name} has {kind} images of '{positive}' \(ingest\.positive\): name others"
    with pytest.raises(SystemExit, match=told):
        prepare.refuse_one_sided(drawn, positive)
    drawn.loc[drawn.index[drawn["split"] == name][0], "label"] = "bad"
    prepare.refuse_one_sided(drawn, positive)


def test_the_stage_itself_refuses_a_split_with_one_side_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    given = table(16).assign(split=["train"] * 8 + ["validation"] * 4 + ["test"] * 4)
    given.loc[8, "label"] = "good"
    given.assign(image=given["path"]).to_csv("data/checked.csv", index=False)
    sections = {"prepare": CONFIG.model_dump(), "ingest": {"positive": "bad"}}
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(SystemExit, match="validation has no images of 'bad'"):
        prepare.main()
    assert not Path("data/prepared").exists()


def test_a_class_with_one_image_is_learnt_or_refused_by_name() -> None:
    for seed in range(8):
        given = table(40).assign(label=["crack"] + ["bad", "good", "good"] * 13)
        config = CONFIG.model_copy(update={"seed": seed})
        try:
            assert split(given, config)[0] == "train"
        except SystemExit as error:
            assert "label 'crack' is in" in str(error) and "not in train" in str(error)


@pytest.mark.parametrize(("key", "value"), [("test_share", 0), ("validation_share", 0.9)])
def test_shares_that_make_no_sense_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError):
        PrepareParams(**(CONFIG.model_dump() | {key: value}))


@pytest.mark.parametrize("gray", [True, False])
def test_pixels_are_those_of_the_whole_picture_resized_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gray: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/raw/images").mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 256, (20, 90, 70, 3), dtype=np.uint8)
    if gray:
        pictures[:] = pictures[..., :1]
    names = [f"{i:06d}.png" for i in range(20)]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(f"data/raw/images/{name}")
    prepare.write_images(pd.DataFrame({"image": names, "gray": gray}), 32, Path("x.npy"))
    written = np.load("x.npy", mmap_mode="r")
    assert written.dtype == np.uint8 and written.shape == (20, 1 if gray else 3, 32, 32)
    assert (written == resize(pictures, 32).numpy()[:, : written.shape[1]]).all()
