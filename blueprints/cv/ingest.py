"""Stage `ingest`: the sample package or the user's own images -> data/raw/images/ and data/raw/manifest.csv."""

import csv
import hashlib
import importlib.metadata
import importlib.util
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from predictor import BadInput, decode
from tqdm import tqdm

from shared import params

RAW = Path("data/raw")
OPTIONAL = {"probability": float("nan"), "group": "", "subgroup": "", "split": ""}


class IngestParams(params.Params):
    source: str
    positive: str
    limit: int | None
    max_megapixels: float
    seed: int


def read_sample(card: Path, positive: str) -> pd.DataFrame:
    """The package that the file `sample` names; refuses another version or changed labels."""
    wanted = yaml.safe_load(card.read_text(encoding="utf-8"))
    found = importlib.metadata.version(wanted["package"])
    spec = importlib.util.find_spec(wanted["package"].replace("-", "_"))
    folder = Path(spec.origin or "").parent / "data"  # type: ignore[union-attr]
    digest = hashlib.sha256((folder / "labels.csv").read_bytes()).hexdigest()
    if (found, digest) != (wanted["version"], wanted["labels_sha256"]):
        raise SystemExit(f"ingest: {wanted['package']} {found} is not the {wanted['version']} that ./sample names")
    table = pd.read_csv(folder / "labels.csv", sep=r"\s+", names=["path", "probability", "subgroup"])
    table["path"] = [str(folder / path) for path in table["path"]]
    table["label"] = np.where(table["probability"] >= 0.5, positive, "good")
    return table


def read_folder(folder: Path) -> pd.DataFrame:
    """One sub-folder per class; every file in it is taken, so that what is no image gets reported."""
    files = sorted(path for path in folder.glob("*/**/*") if path.is_file() and not path.name.startswith("."))
    labels = [path.relative_to(folder).parts[0] for path in files]
    return pd.DataFrame({"path": [str(path) for path in files], "label": labels})


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV with the columns path,label and optionally probability,group,subgroup,split; paths relative to it."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", quoting=csv.QUOTE_MINIMAL)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise SystemExit(f"ingest: {path}: not a UTF-8 CSV: {' '.join(str(error).split())}") from None
    missing, unknown = {"path", "label"} - set(table), set(table) - {"path", "label", *OPTIONAL}
    if missing or unknown:
        raise SystemExit(f"ingest: {path}: missing columns {sorted(missing)}, unknown columns {sorted(unknown)}")
    table["path"] = [str(path.parent / name) for name in table["path"]]
    if "probability" in table:
        table["probability"] = pd.to_numeric(table["probability"], errors="coerce")
    return table


def read_source(config: IngestParams) -> pd.DataFrame:
    """path, label and the optional columns, from whatever `ingest.source` names."""
    source = Path(config.source).expanduser()
    if config.source == "sample":
        table = read_sample(source, config.positive)
    elif source.is_dir():
        table = read_csv(source / "labels.csv") if (source / "labels.csv").exists() else read_folder(source)
    elif source.is_file():
        table = read_csv(source)
    else:
        raise SystemExit(f"params.yaml: ingest.source: {config.source} is neither `sample`, a folder nor a CSV file")
    if config.positive not in set(table["label"]):
        labels = sorted(set(table["label"]))[:20]
        raise SystemExit(f"params.yaml: ingest.positive: {config.positive} is not among the labels {labels}")
    for column, default in OPTIONAL.items():
        table[column] = table[column].fillna(default) if column in table else default
    return table.sort_values("path", kind="stable").reset_index(drop=True)


def subset(table: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """At most `limit` rows, drawn so that the classes keep their shares."""
    if limit is None or limit >= len(table):
        return table
    order = np.random.default_rng(seed).permutation(len(table))
    rank = table.iloc[order].groupby("label", sort=True).cumcount().sort_index()
    share = (rank + 0.5) / table.groupby("label")["label"].transform("size")
    return table.loc[share.sort_values(kind="stable").index[:limit]].sort_index().reset_index(drop=True)


def inspect(source: str, max_megapixels: float) -> dict[str, Any]:
    """What one file is: hash, size, channels, brightness, perceptual hash; or the problem that makes it unusable."""
    row: dict[str, Any] = {"problem": "", "sha256": "", "bytes": 0}
    try:
        content = Path(source).read_bytes()
        row |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        pixels = decode(content, max_megapixels)
    except (BadInput, OSError) as error:
        return row | {"problem": str(error).replace(source, "file")}
    gray = Image.fromarray(pixels).convert("L")
    small = np.asarray(gray.resize((17, 16), Image.Resampling.LANCZOS)).astype(int)
    bits = np.packbits((small[:, 1:] > small[:, :-1]).ravel())
    return row | {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "gray": bool((pixels == pixels[:, :, :1]).all()),
        "brightness": float(pixels.mean()),
        "contrast": float(pixels.std()),
        "perceptual_hash": bits.tobytes().hex(),
    }


def main() -> None:
    config = params.read("ingest", IngestParams)
    table = subset(read_source(config), config.limit, config.seed)
    (RAW / "images").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        looked = pool.map(lambda path: inspect(path, config.max_megapixels), table["path"])
        rows = list(tqdm(looked, total=len(table), desc="ingest", unit="image"))
    manifest = pd.concat([table, pd.DataFrame(rows)], axis=1)
    manifest.insert(
        0,
        "image",
        [f"{i:06d}{Path(path).suffix.lower()}" for i, path in enumerate(manifest["path"])],
    )
    for row in manifest[manifest["problem"] == ""].itertuples():
        shutil.copyfile(str(row.path), RAW / "images" / str(row.image))
    manifest["path"] = ["/".join(Path(path).parts[-2:]) for path in manifest["path"]]  # no machine's own folders
    with params.atomic(RAW / "manifest.csv") as draft:
        manifest.to_csv(draft, index=False)
    print(f"ingest: {len(manifest)} files, {int((manifest['problem'] != '').sum())} with problems -> {RAW}")


if __name__ == "__main__":
    main()
