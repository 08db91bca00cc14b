"""Score a folder of images or a CSV with a column `path` -> Parquet or CSV; a killed run goes on where it stopped.

python batch.py pictures/ results.parquet
"""

import argparse
import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
from predictor import BadInput, Predictor, decode
from tqdm import tqdm

COLUMNS = ["path", "label", "probability", "decision", "error"]


def sources(given: Path) -> list[Path]:
    """The images to score, in a fixed order."""
    if given.is_dir():
        return sorted(path for path in given.rglob("*") if path.is_file() and not path.name.startswith("."))
    if given.suffix.lower() != ".csv" or not given.exists():
        raise SystemExit(f"batch: {given} is neither a folder nor a CSV file")
    table = pd.read_csv(given, dtype=str, encoding="utf-8-sig")
    if "path" not in table:
        raise SystemExit(f"batch: {given} has no column 'path'; found {', '.join(table.columns)}")
    return [given.parent / name for name in table["path"].dropna()]


def score(predictor: Predictor, path: Path) -> dict[str, Any]:
    """One row; a file that cannot be read gets its reason instead of a result."""
    try:
        found = predictor.answer(decode(path.read_bytes(), predictor.meta["max_megapixels"]))
    except (BadInput, OSError) as error:
        return {"path": str(path), "error": str(error)}
    return {
        "path": str(path),
        "label": found.label,
        "probability": found.probability,
        "decision": found.decision,
    }


def done_before(journal: Path) -> set[str]:
    """Paths already scored; a line torn by a kill is dropped from the journal, so that its image is scored again."""
    if not journal.exists():
        return set()
    whole = []
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            break
    journal.write_text("".join(json.dumps(row) + "\n" for row in whole), encoding="utf-8")
    return {row["path"] for row in whole}


def run(given: Path, result: Path, predictor: Predictor, threads: int) -> pd.DataFrame:
    """Score what the journal beside `result` does not have yet, then write the table and drop the journal."""
    if result.suffix not in (".parquet", ".csv"):
        raise SystemExit(f"batch: {result} must end in .parquet or .csv")
    journal = result.with_name(result.name + ".journal")
    files = sources(given)
    done = done_before(journal)
    left = [path for path in files if str(path) not in done]
    with journal.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(threads) as pool:
        rows = pool.map(lambda path: score(predictor, path), left)
        for row in tqdm(rows, total=len(files), initial=len(files) - len(left), desc="batch", unit="image"):
            lines.write(json.dumps(row) + "\n")
            lines.flush()
    found = {row["path"]: row for row in map(json.loads, journal.read_text(encoding="utf-8").splitlines())}
    table = pd.DataFrame([found[str(path)] for path in files], columns=COLUMNS)
    if result.suffix == ".parquet":
        table.to_parquet(result, index=False)
    else:
        table.to_csv(result, index=False, quoting=csv.QUOTE_MINIMAL)
    journal.unlink()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder, or CSV with a column `path`")
    parser.add_argument("result", type=Path, help="file to write: .parquet or .csv")
    parser.add_argument("--model", default="model_int8.onnx", help="file in export/ (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="images at the same time (default: %(default)s)")
    given = parser.parse_args()
    folder = Path(__file__).parent / "export"
    table = run(given.images, given.result, Predictor(folder, given.model), given.threads)
    failed = table["error"].notna()
    print(f"batch: {len(table)} images, {int(failed.sum())} unreadable -> {given.result}")


if __name__ == "__main__":
    main()
