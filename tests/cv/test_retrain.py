"""Labelled images from the log become data: written once, split without leaks, for good."""

import base64
import io
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import retrain
from PIL import Image

CONFIG = retrain.RetrainParams(
    rows=100, epochs=1, test_share=0.3, validation_share=0.2, gate_without=()
)
RANDOM = np.random.default_rng(0)


def picture(seed: int, light: float = 1.0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(60, 250, (12, 12), dtype=np.uint8)
    large = np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))
    return (large * light).astype(np.uint8)


def logged(number: int, light: float = 1.0, label: str = "good") -> dict[str, str]:
    buffer = io.BytesIO()
    Image.fromarray(picture(number, light)).save(buffer, "PNG")
    code = base64.b64encode(buffer.getvalue()).decode()
    return {"id": f"{number:04d}", "image": code, "truth": label}


def old(tmp_path: Path, splits: list[str]) -> pd.DataFrame:
    rows = []
    for number, split in enumerate(splits):
        path = tmp_path / f"old{number}.png"
        Image.fromarray(picture(number)).save(path)
        looked = retrain.inspect(str(path), 50)
        rows.append(looked | {"path": str(path), "label": "good", "split": split, "live": False})
    return pd.DataFrame(rows)


def test_images_of_the_log_are_written_once_with_their_label(tmp_path: Path) -> None:
    rows = [logged(1), logged(2, label="defective")]
    first = retrain.kept(rows, tmp_path / "images")
    assert list(first["label"]) == ["good", "defective"] and list(first["problem"]) == ["", ""]
    assert retrain.kept(rows, tmp_path / "images").equals(first)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["0001.png", "0002.png"]


def test_a_new_picture_of_what_training_saw_is_trained_on(tmp_path: Path) -> None:
    before = old(tmp_path, ["train", "validation", "test"])
    new = retrain.kept([logged(n, light=0.7) for n in range(3)], tmp_path / "images")
    table = retrain.together(before, new, bits=10, config=CONFIG)
    splits = table.set_index("path")["split"]
    live = [splits[path] for path in new["path"]]
    assert live[:2] == ["train", "validation"]
    assert str(tmp_path / "old2.png") not in splits.index, "the test image came back as a new one"
    assert live[2] in ("train", "validation", "test")


def test_splits_stay_when_the_data_grow(tmp_path: Path) -> None:
    before = old(tmp_path, ["train", "test"])
    rows = [logged(n) for n in range(100, 160)]
    small = retrain.together(before, retrain.kept(rows[:30], tmp_path / "i"), 10, CONFIG)
    large = retrain.together(before, retrain.kept(rows, tmp_path / "i"), 10, CONFIG)
    both = small.set_index("path")["split"].to_frame("a").join(large.set_index("path")["split"])
    assert (both["a"] == both["split"]).all()
    shares = large.loc[large["live"], "split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.3, abs=0.17) and shares["validation"] > 0


def test_what_was_learnt_does_not_become_test_when_a_twin_comes(tmp_path: Path) -> None:
    """A group's split is drawn by its smallest hash, which a twin may change."""
    before, rows = old(tmp_path, ["train"]), [logged(n) for n in range(100, 140)]
    first = retrain.together(before, retrain.kept(rows, tmp_path / "i"), 10, CONFIG)
    first[["path", "split"]].to_csv(tmp_path / "labels.csv", index=False)
    twins = [logged(n, 0.7) | {"id": f"twin{n}"} for n in range(100, 140)]
    new = retrain.kept([*rows, *twins], tmp_path / "i")
    known = retrain.remembered(tmp_path / "labels.csv")
    new["split"] = [known.get(Path(path).name, "") for path in new["path"]]
    second = retrain.together(before, new, 10, CONFIG).set_index("path")["split"]
    for path, split in first.set_index("path")["split"].items():
        assert second[path] == split
    drawn = retrain.together(before, new.drop(columns="split"), 10, CONFIG)
    assert (drawn.set_index("path")["split"][first["path"]].to_numpy() != first["split"]).any()
    assert retrain.remembered(tmp_path / "none.csv") == {}


def test_a_part_that_was_sent_twice_is_one_piece_of_evidence(tmp_path: Path) -> None:
    def answer(image: np.ndarray) -> Any:
        return SimpleNamespace(probability=0.5 if image.mean() > 110 else 0.1)

    predictor: Any = SimpleNamespace(meta={"positive": "defective"}, answer=answer)
    rows = [logged(1), logged(1) | {"id": "again"}, logged(1, 0.7) | {"id": "darker"}, logged(2)]
    new = retrain.kept(rows, tmp_path / "i")
    table = retrain.together(old(tmp_path, ["train"]), new, 10, CONFIG).query("live")
    found = retrain.losses(predictor, table)
    assert len(found) == table["shows"].nunique() == 2
    single = retrain.losses(predictor, table.assign(shows=range(4)))
    assert sorted(found) == pytest.approx(sorted([single[:3].mean(), single[3]]))


def test_pictures_of_any_size_are_compared_one_at_a_time(tmp_path: Path) -> None:
    Image.new("L", (5100, 5000)).save(tmp_path / "large.png")  # 25.5 megapixels
    given: list[Any] = []

    def answer(image: np.ndarray) -> Any:
        assert sum(former() is not None for former in given) <= 1
        given.append(weakref.ref(image))
        return SimpleNamespace(probability=0.5)

    predictor: Any = SimpleNamespace(meta={"positive": "defective"}, answer=answer)
    table = pd.DataFrame({"path": [str(tmp_path / "large.png")] * 3, "label": "good"})
    assert retrain.losses(predictor, table.assign(shows=range(3))).tolist() == [0.25] * 3
    assert len(given) == 3
