"""Where images come from: the sample package, a folder per class, or a CSV; each gives a table."""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

OPTIONAL = {"probability": np.nan, "group": "", "subgroup": "", "split": ""}
SPLITS = ("train", "validation", "test")


def read_sample(card: Path, positive: str) -> pd.DataFrame:
    """The package that the file `sample` names; refuses another version or changed labels."""
    wanted = yaml.safe_load(card.read_text(encoding="utf-8"))
    package, version = wanted["package"], importlib.metadata.version(wanted["package"])
    spec = importlib.util.find_spec(package.replace("-", "_"))
    folder = Path(spec.origin or "").parent / "data"  # type: ignore[union-attr]
    digest = hashlib.sha256((folder / "labels.csv").read_bytes()).hexdigest()
    if (version, digest) != (wanted["version"], wanted["labels_sha256"]):
        known = wanted["version"]
        raise SystemExit(f"ingest: {package} {version} is not the {known} that ./sample names")
    columns = ["path", "probability", "subgroup"]
    table = pd.read_csv(folder / "labels.csv", sep=r"\s+", names=columns)
    table["path"] = [str(folder / path) for path in table["path"]]
    table["label"] = np.where(table["probability"] >= 0.5, positive, "good")
    return table


def read_folder(folder: Path) -> pd.DataFrame:
    """One sub-folder per class; each file in it is a row, so that what is no image gets reported.

    Hidden files and folders are left out, and sub-folders that are links are not entered.
    """
    names = [path.relative_to(folder) for path in folder.glob("*/**/*") if not path.is_dir()]
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    if not names:
        raise SystemExit(f"ingest: {folder} has no sub-folder with files; make one for each class")
    labels = [printable(name.parts[0]) for name in names]
    return pd.DataFrame({"path": [str(folder / name) for name in names], "label": labels})


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV path,label and optionally probability,group,subgroup,split.

    Paths are absolute or relative to the CSV, and may lead out of its folder.
    """
    try:
        table = pd.read_csv(path, dtype=str, na_filter=False, index_col=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())
        raise SystemExit(f"ingest: {path}: not a UTF-8 CSV: {reason}") from None
    missing = sorted({"path", "label"} - set(table))
    unknown = sorted(set(table) - {"path", "label", *OPTIONAL})
    if missing or unknown:
        raise SystemExit(f"ingest: {path}: missing columns {missing}, unknown columns {unknown}")
    if "split" in table:
        table["split"] = table["split"].str.strip()
        refuse_unknown_splits(table, path)
    table["path"] = [str(path.parent / name) for name in table["path"]]
    table["label"] = table["label"].str.strip()
    if "probability" in table:
        text = table["probability"].str.strip()
        table["probability"] = pd.to_numeric(text, errors="coerce")
        wrong = table["probability"].isna() & (text != "")
        table["problem"] = ("probability: not a number: " + text.str[:20]).where(wrong, "")
    return table


def refuse_unknown_splits(table: pd.DataFrame, path: Path) -> None:
    """SystemExit with the first row of the CSV `path` whose split is misspelt."""
    wrong = table[~table["split"].isin(["", *SPLITS])]
    if len(wrong):
        name, split = wrong[["path", "split"]].iloc[0]
        allowed = f"write {', '.join(SPLITS)}, or leave it empty"
        raise SystemExit(f"ingest: {path}: {name}: split {split!r} is unknown; {allowed}")


def printable(name: str) -> str:
    """The name of a file as text; bytes in it that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()
