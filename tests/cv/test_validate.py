"""Data that must not be learnt from: shuffled labels, twins, leaks between splits. Goal P5."""

import time
from pathlib import Path
from typing import Any

import labels
import manifest as images
import numpy as np
import pandas as pd
import pytest
import twins
import validate
from ingest import inspect
from PIL import Image, ImageDraw

LIMITS: dict[str, Any] = {
    "max_problem_share": 0.01,
    "min_side": 32,
    "channels": "any",
    "min_per_class": 20,
    "max_label_conflicts": 0.01,
    "near_duplicate_bits": 3,
    "min_label_signal": 0.6,
    "label_noise_listed": 50,
}


def draw(number: int, bad: bool) -> Image.Image:
    """Noise with a grid; the bad ones have a dark line across."""
    noise = np.random.default_rng(number).integers(90, 160, (64, 64), dtype=np.uint8)
    image = Image.fromarray(noise)
    if bad:
        ImageDraw.Draw(image).line((0, 32, 64, 32), fill=0, width=6)
    return image


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/raw/images"
    folder.mkdir(parents=True)
    rows = []
    for number in range(80):
        path = folder / f"{number:06d}.png"
        draw(number, bad=number % 2 == 0).save(path)
        label = "bad" if number % 2 == 0 else "good"
        rows.append(
            {"image": path.name, "path": f"x/{number}.png", "label": label} | inspect(str(path), 50)
        )
    return pd.DataFrame(rows).assign(probability=np.nan, group="", subgroup="", split="")


def copy_row(manifest: pd.DataFrame, row: int, **changed: Any) -> pd.DataFrame:
    return pd.concat(
        [manifest, manifest.loc[[row]].assign(path="x/copy.png", **changed)], ignore_index=True
    )


def examine(manifest: pd.DataFrame, **limits: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    return validate.examine(manifest, validate.ValidateParams(**(LIMITS | limits)), "bad")


def stops(manifest: pd.DataFrame, **limits: Any) -> str:
    return "; ".join(examine(manifest, **limits)[0]["stops"])


def test_good_data_pass(manifest: pd.DataFrame) -> None:
    report, usable = examine(manifest)
    assert report["stops"] == [] and len(usable) == 80
    assert report["classes"] == {"bad": 40, "good": 40} and report["label_signal_auc"] > 0.9


def test_shuffled_labels_are_refused(manifest: pd.DataFrame) -> None:
    shuffled = manifest["label"].sample(frac=1, random_state=1).to_numpy()
    assert "below validate.min_label_signal" in stops(manifest.assign(label=shuffled))


def of_parts(folder: Path, parts: int, photos: int) -> pd.DataFrame:
    """Photos of parts that look alike part by part; labels are drawn per part, without a reason."""
    generator, rows = np.random.default_rng(0), []
    for part in range(parts):
        coarse = generator.integers(0, 256, (12, 12), dtype=np.uint8)
        large = np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))
        label = "bad" if generator.random() < 0.5 else "good"
        for photo in range(photos):
            moved = np.roll(large, generator.integers(-6, 7, 2), (0, 1))
            noisy = np.clip(moved + generator.normal(0, 15, moved.shape), 0, 255)
            name = f"part{part}_{photo}.png"
            Image.fromarray(noisy.astype(np.uint8)).save(folder / name)
            rows.append({"image": name, "label": label, "group": str(part)})
    return pd.DataFrame(rows).assign(twins=range(len(rows)))


def test_labels_without_reason_have_no_signal_though_photos_share_a_part(
    manifest: pd.DataFrame,
) -> None:
    table = of_parts(images.RAW / "images", parts=40, photos=6)
    assert labels.doubts(table.assign(group=""), "bad")[0] > 0.7
    signal, own = labels.doubts(table, "bad")
    assert signal < 0.6 and len(own) == len(table)
    tied = table.assign(group=table["group"].where(table.index % 6 < 3, ""))
    tied["twins"] = table.index // 6
    assert labels.doubts(tied, "bad")[0] == signal, "twins tie as `group` does"


def test_folds_of_few_groups_are_fewer_and_of_one_none() -> None:
    target = np.arange(80) % 4 == 0
    table = pd.DataFrame({"group": "", "twins": range(80)})
    assert len(labels.folds(table, target)) == 5
    shared = table.assign(group=np.where(target, "a", "b"))
    assert labels.folds(shared, target) == []
    shared["group"] += (np.arange(80) // 40).astype(str)
    (learnt, held), (_, other) = labels.folds(shared, target)
    assert len({*held, *other}) == 80 and len(np.unique(target[learnt])) == 2
    groups = shared["group"].to_numpy()
    assert not set(groups[learnt]) & set(groups[held])


def test_flipped_labels_lead_the_list_of_doubts(manifest: pd.DataFrame) -> None:
    flipped = manifest.copy()
    flipped.loc[:7, "label"] = ["good", "bad"] * 4
    report, _ = examine(flipped)
    doubted = {row["path"] for row in report["doubtful_labels"][:12]}
    assert len(doubted & {f"x/{number}.png" for number in range(8)}) >= 6


def test_a_copy_is_dropped_and_a_twin_stays_with_its_twin(manifest: pd.DataFrame) -> None:
    report, usable = examine(copy_row(manifest, 4))
    assert report["exact_duplicates"] == 1 and len(usable) == 80
    assert report["duplicates"][0]["of"] == "x/4.png" and usable["twins"].is_unique
    report, usable = examine(copy_row(manifest, 4, sha256="f" * 64))
    assert report["near_duplicate_pairs"] == 1 and usable["twins"][4] == usable["twins"][80]
    assert usable["twins"].nunique() == 80


def test_near_hashes_are_found_and_chains_share_a_number() -> None:
    hashes = [0, 0b111, 0b111_111 << 3, 0b111 | 0b111 << 253, 2**256 - 1]
    table = pd.DataFrame({"perceptual_hash": [f"{value:064x}" for value in hashes]}, range(10, 15))
    found = twins.pairs(table, 3)
    assert found == [(11, 10, 3), (13, 11, 3)]
    numbers = twins.groups(table.index, found)
    assert numbers[10] == numbers[11] == numbers[13] and numbers.nunique() == 3
    assert twins.pairs(table, 0) == [] and len(twins.pairs(table, 256)) == 10


def test_thousands_of_copies_cost_neither_time_nor_a_long_report(manifest: pd.DataFrame) -> None:
    begin = time.monotonic()
    many = pd.concat([manifest, *[manifest.loc[[4]]] * 5000], ignore_index=True)
    report, usable = examine(many)
    assert report["exact_duplicates"] == len(report["duplicates"]) == 5000 and len(usable) == 80
    assert time.monotonic() - begin < 20


def test_test_rows_that_leaked_into_train_are_refused(manifest: pd.DataFrame) -> None:
    split = manifest.assign(split=["train"] * 40 + ["validation"] * 20 + ["test"] * 20)
    assert "twins in different splits: x/copy.png and x/70.png" in stops(
        copy_row(split, 70, split="train")
    )


def test_one_image_with_two_labels_is_dropped_and_counted(manifest: pd.DataFrame) -> None:
    twice = copy_row(manifest, 4, label="good")
    assert "label_conflict_share 0.025 above validate.max_label_conflicts" in stops(twice)


def test_the_same_file_listed_with_two_labels_is_left_out(manifest: pd.DataFrame) -> None:
    report, usable = examine(copy_row(manifest, 4, label="good"), max_label_conflicts=0.1)
    assert report["stops"] == [] and len(usable) == 79
    assert [row["label"] for row in report["label_conflicts"]] == ["bad", "good"]


def test_near_duplicates_with_different_labels_stay_in_one_split(manifest: pd.DataFrame) -> None:
    """A fixed camera sees the same part twice, whole and then with a crack."""
    near = copy_row(manifest, 4, label="good", sha256="f" * 64)
    report, usable = examine(near)
    assert report["stops"] == report["label_conflicts"] == [] and len(usable) == 81
    assert report["near_duplicate_pairs"] == 1 and usable["twins"][4] == usable["twins"][80]
    report, usable = examine(near, near_duplicate_bits=None)
    assert report["near_duplicate_pairs"] == 0 and usable["twins"].is_unique


def test_copies_are_found_where_near_duplicates_are_not_looked_for(manifest: pd.DataFrame) -> None:
    report, usable = examine(copy_row(manifest, 4), near_duplicate_bits=None)
    assert report["exact_duplicates"] == 1 and len(usable) == 80 and report["stops"] == []
    twice = copy_row(manifest, 4, label="good")
    assert "above validate.max_label_conflicts" in stops(twice, near_duplicate_bits=None)
    split = copy_row(manifest, 4, split="train")
    split = copy_row(split, 4, split="test")
    leaks = examine(split, near_duplicate_bits=None)[0]["leaks_between_splits"]
    assert leaks == ["x/copy.png and x/copy.png"]


def test_rows_that_break_the_schema_are_listed_with_the_reason(manifest: pd.DataFrame) -> None:
    odd = manifest.copy()
    odd.loc[0, "width"], odd.loc[1, "label"], odd.loc[2, "probability"] = 8, " ", 1.5
    odd.loc[3, "probability"], odd.loc[4, "split"] = -np.inf, "tset"
    report, usable = examine(odd, max_problem_share=0.1)
    reasons = {row["path"]: row["problem"] for row in report["problems"]}
    assert reasons == {
        "x/0.png": "width: side below validate.min_side 32",
        "x/1.png": "label: label is missing",
        "x/2.png": "probability: probability outside 0..1",
        "x/3.png": "probability: probability outside 0..1",
        "x/4.png": "split: unknown split",
    }
    assert len(usable) == 75 and report["stops"] == []
    assert "problem_share 0.062 above validate.max_problem_share" in stops(odd)


def test_sixteen_bit_pictures_have_a_signal_too(manifest: pd.DataFrame) -> None:
    for name in manifest["image"]:
        path = images.RAW / "images" / name
        deep = np.asarray(Image.open(path)).astype(np.uint16) << 8
        Image.fromarray(deep).save(path)
    assert examine(manifest)[0]["label_signal_auc"] > 0.9


def test_no_usable_image_at_all_is_reported(manifest: pd.DataFrame) -> None:
    nothing = manifest.assign(problem="image: is empty")
    report, usable = examine(nothing)
    assert len(usable) == 0 and len(report["problems"]) == 80
    assert report["stops"][0].startswith("fewer than two classes")
    validate.params.write_json("report.json", report)


def test_too_few_of_a_class_are_refused(manifest: pd.DataFrame) -> None:
    few = manifest[(manifest["label"] == "good") | (manifest.index < 20)].reset_index(drop=True)
    assert "classes below validate.min_per_class: bad (10)" in stops(few)


def test_images_of_another_number_of_channels_are_problems_where_one_is_asked(
    manifest: pd.DataFrame,
) -> None:
    mixed = manifest.copy()
    mixed.loc[:3, "gray"] = False
    report, _ = examine(mixed)
    assert report["channels"] == {"gray": 76, "colour": 4} and report["problems"] == []
    report, usable = examine(mixed, channels="gray", max_problem_share=0.1)
    reasons = {row["path"]: row["problem"] for row in report["problems"]}
    wanted = "gray: not validate.channels gray"
    assert reasons == {f"x/{number}.png": wanted for number in range(4)} and len(usable) == 76
    assert examine(mixed, channels="colour")[0]["channels"] == {"gray": 0, "colour": 4}


def test_channels_are_known_after_the_manifest_was_written(
    manifest: pd.DataFrame, tmp_path: Path
) -> None:
    manifest.loc[5, "problem"] = "image: is empty"
    manifest["gray"] = manifest["gray"].astype(object).where(manifest.index != 5, None)
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    report, _ = examine(images.read(tmp_path / "manifest.csv"), channels="gray")
    assert report["channels"] == {"gray": 79, "colour": 0} and len(report["problems"]) == 1


@pytest.mark.parametrize(
    ("other", "told"),
    [("Bad", "'Bad', 'bad'"), ("bad ", "'bad', 'bad '"), ("BAD", "'BAD', 'bad'")],
)
def test_labels_that_differ_by_case_or_spaces_are_refused(
    manifest: pd.DataFrame, other: str, told: str
) -> None:
    twofold = manifest.copy()
    twofold.loc[twofold.index[:40:2], "label"] = other
    assert f"labels to be spelt one way: {told}" in stops(twofold)


def test_labels_are_alike_by_spelling_alone() -> None:
    assert labels.alike(["0", "1", "1.0", "10", "2.5"]) == [["1", "1.0"]]
    assert labels.alike(["dead area", "Dead  Area", "dead_area"]) == [["dead area", "Dead  Area"]]
    assert labels.alike(["crack", "cracks", "1", "-1", "v1.0", "v1"]) == []


def test_a_list_in_place_of_a_label_is_a_problem_of_its_row(manifest: pd.DataFrame) -> None:
    odd = manifest.copy()
    odd.loc[0, "label"], odd.loc[1, "label"] = "['bad', 'good']", ' ["good"]'
    report, usable = examine(odd, max_problem_share=0.1)
    reasons = {row["path"]: row["problem"] for row in report["problems"]}
    wanted = "label: a list; give one label per image"
    assert reasons == {"x/0.png": wanted, "x/1.png": wanted} and len(usable) == 78
    assert report["classes"] == {"bad": 39, "good": 39} and report["stops"] == []


def test_a_class_with_one_image_is_named_with_the_limit(manifest: pd.DataFrame) -> None:
    assert "classes below validate.min_per_class: crack (1)" in stops(
        manifest.assign(label=manifest["label"].where(manifest.index != 7, "crack"))
    )
