"""Score a folder of images, or a CSV with a column `path` -> Parquet or CSV.

python batch.py pictures/ results.parquet

A run that was stopped goes on where it was when the same command is given again. The result
appears, and replaces an older one, only when it is complete.
"""

import argparse
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from parallel import in_order
from predictor import BadInput, Predictor, decode, read

from shared import params

EXPORT = Path(__file__).parent / "export"
TYPES = dict.fromkeys(["path", "label", "decision", "error"], "string") | {"probability": "float64"}
COLUMNS = ["path", "label", "probability", "decision", "error"]


def sources(given: Path) -> list[str]:
    """The images to score, in a fixed order; hidden files and folders are left out."""
    if given.is_dir():
        names = (path.relative_to(given) for path in given.rglob("*") if path.is_file())
        seen = (name for name in names if not any(part.startswith(".") for part in name.parts))
        return sorted(str(given / name) for name in seen)
    if given.suffix.lower() != ".csv" or not given.exists():
        raise SystemExit(f"batch: {given} is neither a folder nor a CSV file")
    try:
        table = pd.read_csv(
            given, dtype=str, na_filter=False, index_col=False, encoding="utf-8-sig"
        )
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise SystemExit(f"batch: {given}: not a UTF-8 CSV: {error}") from None
    if "path" not in table:
        raise SystemExit(f"batch: {given} has no column 'path'; found {', '.join(table.columns)}")
    return [str(given.parent / name) for name in table["path"] if name]


def score(path: str, predictor: Predictor) -> dict[str, Any]:
    """One row; a file that cannot be used gets its reason instead of a result."""
    limit = predictor.meta["max_megapixels"]
    try:
        found = predictor.answer(decode(read(path, limit), limit))
    except BadInput as error:
        return {"path": path, "error": str(error)}
    return {
        "path": path,
        "label": found.label,
        "probability": found.probability,
        "decision": found.decision,
    }


def resume(journal: Path, mark: str) -> dict[str, dict[str, Any]]:
    """What the journal has from the same model, by path.

    Another model's journal is emptied; of a line torn by a kill nothing is kept.
    """
    rows = []
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    kept = rows[1:] if rows[:1] == [{"model": mark}] else []
    with params.atomic(journal) as draft:
        lines = [json.dumps(row) + "\n" for row in [{"model": mark}, *kept]]
        draft.write_text("".join(lines), encoding="utf-8")
    return {row["path"]: row for row in kept}


def run(
    given: Path, result: Path, predictor: Predictor, threads: int, mark: str = ""
) -> pd.DataFrame:
    """Score what the journal beside `result` does not have yet; write the table, drop the journal.

    mark: names the model; what another model scored is not taken over.
    """
    if result.suffix not in (".parquet", ".csv") or result.is_dir():
        raise SystemExit(f"batch: {result} must be a file that ends in .parquet or .csv")
    journal = result.with_name(result.name + ".journal")
    own = (result.name, journal.name)  # they may lie among the images
    files = [name for name in sources(given) if Path(name).name not in own]
    found = resume(journal, mark)
    unique = dict.fromkeys(files)
    left = [name for name in unique if name not in found]
    work = partial(score, predictor=predictor)
    rows = in_order(work, left, "batch", threads, done=len(unique) - len(left))
    with journal.open("a", encoding="utf-8") as lines:
        for row in rows:
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            found[row["path"]] = row
    table = pd.DataFrame([found[name] for name in files], columns=COLUMNS)
    table["path"] = [name.encode("utf-8", "replace").decode() for name in files]
    table = table.astype(TYPES)  # the same columns, whatever the images were
    with params.atomic(result) as draft:
        if result.suffix == ".parquet":
            table.to_parquet(draft, index=False)
        else:
            table.to_csv(draft, index=False)
    journal.unlink()
    return table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="folder, or CSV with a column `path`")
    parser.add_argument("result", type=Path, help="file to write: .parquet or .csv")
    standard = "(default: %(default)s)"
    parser.add_argument("--model", default="model_int8.onnx", help=f"file in export/ {standard}")
    parser.add_argument("--threads", type=int, default=2, help=f"images at a time {standard}")
    given = parser.parse_args()
    if given.images.resolve() == given.result.resolve():
        parser.error(f"{given.result} is the list of images: name another for the result")
    if given.threads < 1:
        parser.error("--threads: at least 1")
    if not (EXPORT / given.model).is_file():
        parser.error(f"--model: {EXPORT / given.model} is not there; run dvc repro")
    return given


def main() -> None:
    given = arguments()
    content = [(EXPORT / name).read_bytes() for name in (given.model, "model.json")]
    mark = hashlib.sha256(b"".join(content)).hexdigest()
    predictor = Predictor(EXPORT, given.model)
    try:
        table = run(given.images, given.result, predictor, given.threads, mark)
    except OSError as error:
        reason = f"{error.filename or given.result}: {error.strerror}"
        raise SystemExit(f"batch: {reason}; when it is mended, the same command goes on") from None
    except KeyboardInterrupt:
        raise SystemExit("batch: stopped; the same command goes on") from None
    failed = int(table["error"].notna().sum())
    print(f"batch: {len(table)} images, {failed} unreadable -> {given.result}")


if __name__ == "__main__":
    main()
