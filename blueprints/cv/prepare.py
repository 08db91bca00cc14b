"""Stage `prepare`: split without leakage, resize once -> data/prepared/, reports/reference.json."""

from pathlib import Path

import monitor
import numpy as np
import pandas as pd
from model import resize
from predictor import decode
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from shared import params

RAW, CHECKED, PREPARED = Path("data/raw"), Path("data/checked.csv"), Path("data/prepared")


class PrepareParams(params.Params):
    image_size: int
    test_share: float
    validation_share: float
    seed: int


def held_out(table: pd.DataFrame, groups: np.ndarray, strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """[n] True for about `share` of the rows; whole groups, every stratum in the same proportion.

    The folds of a grouped, stratified split are taken until the share is reached.
    """
    folds = max(2, round(1 / share)) if share >= 0.1 else round(1 / share)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    chosen = np.zeros(len(table), bool)
    chosen[next(splitter.split(table, strata, groups))[1]] = True
    return chosen


def split(table: pd.DataFrame, config: PrepareParams) -> pd.Series:
    """train, validation or test for each row: the `split` column where it is filled, else drawn.

    Twins and rows of one `group` stay together; strata are label, probability and subgroup.
    Raises SystemExit when a group ends up in two splits.
    """
    groups = connected(table)
    strata = table[["label", "probability", "subgroup"]].astype(str).agg("|".join, axis=1)
    common = strata.map(strata.value_counts()) >= 10
    strata = strata.where(common, table["label"]).to_numpy()
    result = table["split"].where(table["split"] != "", "train").to_numpy(dtype=object)
    if (table["split"] == "").all():
        test = held_out(table, groups, strata, config.test_share, config.seed)
        rest = np.flatnonzero(~test)
        validation = held_out(table.iloc[rest], groups[rest], strata[rest], config.validation_share, config.seed)
        result[test] = "test"
        result[rest[validation]] = "validation"
    crossing = pd.Series(result).groupby(groups).nunique().max()
    absent = {"train", "validation", "test"} - set(result)
    if crossing > 1 or absent:
        raise SystemExit(
            f"prepare: {'a group lies in two splits' if crossing > 1 else f'no rows for {sorted(absent)}'}"
        )
    return pd.Series(result, table.index)


def connected(table: pd.DataFrame) -> np.ndarray:
    """[n] one number per set of rows that twins or the `group` column tie together."""
    names = table["group"].where(table["group"] != "", "twins " + table["twins"].astype(str))
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for _, rows in names.groupby(table["twins"]):
        for name in rows:
            parent[root(name)] = root(rows.iloc[0])
    return pd.factorize(names.map(root))[0]


def write_images(table: pd.DataFrame, size: int, path: Path) -> None:
    """uint8 [n, channels, size, size] as .npy, row by row, so that any number of images fits in memory.

    One channel when every image is gray, else three.
    """
    channels = 1 if table["gray"].all() else 3
    with params.atomic(path) as draft:
        images = np.lib.format.open_memmap(draft, "w+", np.uint8, (len(table), channels, size, size))
        for i, name in enumerate(tqdm(table["image"], desc="prepare", unit="image")):
            pixels = decode((RAW / "images" / name).read_bytes(), max_megapixels=float("inf"))
            images[i] = resize(pixels[None], size)[0, :channels]
        images.flush()


def main() -> None:
    config = params.read("prepare", PrepareParams)
    text = dict.fromkeys(["path", "label", "group", "subgroup", "split"], str)
    table = pd.read_csv(CHECKED, dtype=text).fillna(dict.fromkeys(text, ""))
    table["split"] = split(table, config)
    table = table.sort_values(["split", "image"], kind="stable").reset_index(drop=True)
    PREPARED.mkdir(parents=True, exist_ok=True)
    write_images(table, config.image_size, PREPARED / "images.npy")
    with params.atomic(PREPARED / "samples.csv") as draft:
        columns = [
            "image",
            "path",
            "label",
            "probability",
            "subgroup",
            "split",
            "sha256",
            "brightness",
            "contrast",
        ]
        table[columns].to_csv(draft, index=False)
    params.write_json("reports/reference.json", monitor.reference(table[table["split"] == "train"]))
    print(f"prepare: {table['split'].value_counts().to_dict()} -> {PREPARED}")


if __name__ == "__main__":
    main()
