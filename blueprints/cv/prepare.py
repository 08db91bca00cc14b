"""Stage `prepare`: split without leakage, resize once -> data/prepared/, reports/reference.json."""

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated

import manifest
import monitor
import numpy as np
import pandas as pd
import torch
import twins
from model import resize
from parallel import in_order
from pydantic import Field, PositiveInt
from sklearn.model_selection import StratifiedGroupKFold

from shared import params

CHECKED, PREPARED = Path("data/checked.csv"), Path("data/prepared")
SAMPLES = ["image", "path", "label", "probability", "subgroup", "split", "sha256", "part"]
# a split that no row has is drawn from rows whose own says this; empty: nothing
DRAWN_FROM = {"test": [""], "validation": ["", "train"]}
Share = Annotated[float, Field(gt=0, le=0.5)]


class PrepareParams(params.Params):
    image_size: PositiveInt
    test_share: Share
    validation_share: Share
    seed: int


def held_out(groups: np.ndarray, strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """[m] positions of about `share` of the rows: one fold of a grouped, stratified split.

    Groups stay whole, and every stratum gives the same proportion. Of too few rows it is none.
    """
    folds = max(2, round(1 / share))
    if np.unique(strata, return_counts=True)[1].max(initial=0) < folds:
        return np.array([], int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return np.asarray(next(splitter.split(strata, strata, groups))[1])


def split(table: pd.DataFrame, config: PrepareParams) -> pd.Series:
    """train, validation or test for each row: what column `split` says is kept.

    Where no row says test, it is drawn from the rows that say nothing; where none says validation,
    from those and from train. What is left is train.
    Twins and rows of one `group` stay together; strata are label, probability and subgroup.
    """
    groups = twins.connected(table)
    strata = table[["label", "probability", "subgroup"]].astype(str).agg("|".join, axis=1)
    common = strata.map(strata.value_counts()) >= 10
    strata = strata.where(common, table["label"]).to_numpy()
    result = table["split"].to_numpy(dtype=object, copy=True)
    for name, share in (("test", config.test_share), ("validation", config.validation_share)):
        if name not in result:
            free = np.flatnonzero(np.isin(result, DRAWN_FROM[name]))
            result[free[held_out(groups[free], strata[free], share, config.seed)]] = name
    result[result == ""] = "train"
    refuse_unfit(table.assign(split=result), groups)
    return pd.Series(result, table.index)


def refuse_unfit(table: pd.DataFrame, groups: np.ndarray) -> None:
    """SystemExit for a group in two splits, a split without rows, a label that is not learnt."""
    crossing = table.groupby(groups)["split"].transform("nunique") > 1
    if crossing.any():
        raise SystemExit(f"prepare: a group lies in two splits: {table['path'][crossing].iloc[0]}")
    absent = sorted({"train", "validation", "test"} - set(table["split"]))
    if absent:
        raise SystemExit(
            f"prepare: no rows for {absent}: column `split` names none, and images or groups to "
            "draw from are too few; add some, or write the split into that column"
        )
    learnt = table["label"][table["split"] == "train"]
    unlearnt = table[~table["label"].isin(learnt)]
    if len(unlearnt):
        label, name = unlearnt[["label", "split"]].iloc[0]
        raise SystemExit(
            f"prepare: label {label!r} is in {name}, not in train: give some of its rows split "
            "train, or leave the label out"
        )


def refuse_one_sided(table: pd.DataFrame, positive: str) -> None:
    """SystemExit for a split with none of the positive class, or with nothing else."""
    shares = (table["label"] == positive).groupby(table["split"]).mean()
    for name, share in shares[shares.isin([0, 1])].items():
        found = f"{name} has {'only' if share else 'no'} images of {positive!r} (ingest.positive)"
        raise SystemExit(f"prepare: {found}: name others in column `split`, or add images")


def resized(image: str, size: int, channels: int) -> np.ndarray:
    """uint8 [channels, size, size] of an ingested image; its channels are resized on their own."""
    pixels = manifest.picture(image)[None, :, :, :channels].copy()  # torch wants to own them
    return resize(pixels, size)[0].numpy().astype(np.uint8)


def write_images(table: pd.DataFrame, size: int, path: Path) -> None:
    """uint8 [n, channels, size, size] as .npy, row by row: any number of images fits in memory.

    One channel when every image is gray, else three.
    """
    channels = 1 if table["gray"].all() else 3
    torch.set_num_threads(1)  # an image on each core beats all cores on one image
    shape = {"descr": "|u1", "fortran_order": False, "shape": (len(table), channels, size, size)}
    one = partial(resized, size=size, channels=channels)
    rows = in_order(one, table["image"].tolist(), "prepare")
    with params.atomic(path) as draft, draft.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, shape)
        for row in rows:
            file.write(row.tobytes())


def main() -> None:
    config = params.stage("prepare", PrepareParams)
    table = manifest.read(CHECKED)
    table["split"] = split(table, config)
    refuse_one_sided(table, params.load_yaml("params.yaml")["ingest"]["positive"])
    table = table.sort_values(["split", "image"], kind="stable").reset_index(drop=True)
    shutil.rmtree(PREPARED, ignore_errors=True)  # a killed run may have left drafts
    PREPARED.mkdir(parents=True)
    table["part"] = twins.parts(table)
    write_images(table, config.image_size, PREPARED / "images.npy")
    with params.atomic(PREPARED / "samples.csv") as draft:
        table[[*SAMPLES, *monitor.FEATURES]].to_csv(draft, index=False)
    params.write_json("reports/reference.json", monitor.reference(table[table["split"] == "train"]))
    print(f"prepare: {table['split'].value_counts().to_dict()} -> {PREPARED}")


if __name__ == "__main__":
    main()
