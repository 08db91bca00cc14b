"""Stage `ingest`: the sample or the user's own images -> data/raw/images/, manifest.csv."""

import hashlib
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import monitor
import numpy as np
import pandas as pd
from parallel import in_order
from PIL import Image
from predictor import BadInput, decode, read
from pydantic import PositiveFloat, PositiveInt
from sources import OPTIONAL, printable, read_csv, read_folder, read_sample

from shared import params

RAW = Path("data/raw")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LOOKED = ["problem", "sha256", "bytes", "width", "height", "gray", *monitor.FEATURES]
LOOKED += ["perceptual_hash"]


class IngestParams(params.Params):
    source: str
    positive: str
    limit: PositiveInt | None
    max_megapixels: PositiveFloat
    seed: int


def read_source(config: IngestParams) -> pd.DataFrame:
    """path, label and the optional columns, from whatever `ingest.source` names."""
    source = Path(config.source).expanduser()
    if config.source == "sample":
        table = read_sample(source, config.positive)
    elif source.is_file() or (source / "labels.csv").is_file():
        table = read_csv(source if source.is_file() else source / "labels.csv")
    elif source.is_dir():
        table = read_folder(source)
    else:
        wanted = "neither `sample`, a folder nor a CSV file"
        raise SystemExit(f"params.yaml: ingest.source: {config.source} is {wanted}")
    labels = sorted(set(table["label"]))
    if config.positive not in labels:
        wrong = f"{config.positive} is not among the labels {labels[:20]}"
        raise SystemExit(f"params.yaml: ingest.positive: {wrong}")
    for column, default in (OPTIONAL | {"problem": ""}).items():
        table[column] = table[column].fillna(default) if column in table else default
    return table.sort_values("path", kind="stable").reset_index(drop=True)


def subset(table: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """At most `limit` rows, drawn so that the classes keep their shares."""
    if limit is None or limit >= len(table):
        return table
    order = np.random.default_rng(seed).permutation(len(table))
    rank = table.iloc[order].groupby("label", sort=True).cumcount().sort_index()
    share = (rank + 0.5) / table.groupby("label")["label"].transform("size")
    drawn = share.sort_values(kind="stable").index[:limit]
    return table.loc[sorted(drawn)].reset_index(drop=True)


def inspect(source: str, max_megapixels: float) -> dict[str, Any]:
    """What a file is: hash, size, channels, brightness, perceptual hash; or why it is unusable."""
    row: dict[str, Any] = dict.fromkeys(LOOKED) | {"problem": "", "bytes": 0}
    try:
        content = read(source, max_megapixels)
        row |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        pixels = decode(content, max_megapixels)
    except BadInput as error:
        return row | {"problem": str(error)}
    small = Image.fromarray(pixels).convert("L").resize((17, 16), Image.Resampling.LANCZOS)
    levels = np.asarray(small).astype(int)
    bits = np.packbits((levels[:, 1:] > levels[:, :-1]).ravel())
    red, green, blue = np.moveaxis(pixels, 2, 0)
    return row | {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "gray": bool((red == green).all() and (red == blue).all()),
        **monitor.features(pixels),
        "perceptual_hash": bits.tobytes().hex(),
    }


def stored(number: int, path: str) -> str:
    """The name of an image in data/raw; not 000001, which would come out of a CSV as a number."""
    suffix = Path(path).suffix.lower()
    return f"{number:06d}{suffix if suffix in SUFFIXES else '.image'}"


def main() -> None:
    config = params.stage("ingest", IngestParams)
    table = subset(read_source(config), config.limit, config.seed)
    shutil.rmtree(RAW / "images", ignore_errors=True)
    (RAW / "images").mkdir(parents=True)
    look = partial(inspect, max_megapixels=config.max_megapixels)
    looked = pd.DataFrame(in_order(look, table["path"].tolist(), "ingest"))
    problem = table["problem"].where(table["problem"] != "", looked["problem"])
    manifest = pd.concat([table.drop(columns="problem"), looked.assign(problem=problem)], axis=1)
    names = [stored(number, path) for number, path in enumerate(manifest["path"])]
    manifest.insert(0, "image", names)
    for row in manifest[manifest["problem"] == ""].itertuples():
        shutil.copyfile(str(row.path), RAW / "images" / str(row.image))
    # no machine's own folders in what is handed on
    manifest["path"] = [printable("/".join(Path(path).parts[-2:])) for path in manifest["path"]]
    with params.atomic(RAW / "manifest.csv") as draft:
        manifest.to_csv(draft, index=False)
    unusable = int((manifest["problem"] != "").sum())
    print(f"ingest: {len(manifest)} files, {unusable} with problems -> {RAW}")


if __name__ == "__main__":
    main()
