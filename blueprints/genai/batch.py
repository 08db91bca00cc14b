"""Records of a file of texts -> JSON lines.

    python batch.py reports.jsonl records.jsonl         each line {"input": "..."}; other keys stay

A run that was stopped goes on where it was when the same command is given again. The result
appears, and replaces an older one, only when it is complete.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from predictor import Predictor
from tqdm import tqdm

from shared import params, provenance
from shared.guards import BadInput

EXPORT = Path(__file__).parent / "export"
LONGEST = 1_000_000  # characters of a text; the model reads a part of it anyway
Json = dict[str, Any]


def lines(path: Path) -> Iterator[bytes]:
    """The lines of the file that are not empty."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield line.removeprefix(b"\xef\xbb\xbf")


def read(line: bytes) -> Json:
    """A row with its text. Raises BadInput naming what is wrong."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise BadInput("line", "is not JSON in UTF-8") from None
    if not isinstance(row, dict) or not isinstance(row.get("input"), str):
        raise BadInput("line", "has no text under `input`")
    if not row["input"].strip():
        raise BadInput("input", "is empty")
    if len(row["input"]) > LONGEST:
        raise BadInput("input", f"has more than {LONGEST} characters")
    return row


def answer(line: bytes, predictor: Predictor) -> Json:
    """The row with `record`, `confidence` and whether the text was cut, or with the reason why
    there is none."""
    try:
        row = read(line)
    except BadInput as error:
        return {"record": None, "error": str(error)}
    try:
        found, cut = predictor.answer(row["input"]), predictor.prompt(row["input"]).cut
    except BadInput as error:
        return row | {"record": None, "error": str(error)}
    return row | {"record": found.record, "confidence": found.confidence, "cut": cut}


def done(journal: Path, mark: str) -> int:
    """How many rows the journal has from the same model and texts.

    Another one's journal is emptied; of a line torn by a kill nothing is kept.
    """
    kept: list[bytes] = []
    for line in journal.read_bytes().splitlines(keepends=True) if journal.exists() else []:
        try:
            json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        kept.append(line)
    if kept[:1] != [_head(mark)]:
        kept = [_head(mark)]
    with params.atomic(journal) as draft:
        draft.write_bytes(b"".join(kept))
    return len(kept) - 1


def _head(mark: str) -> bytes:
    return json.dumps({"mark": mark}).encode() + b"\n"


def run(given: Path, result: Path, predictor: Predictor, mark: str = "") -> tuple[int, int]:
    """Answer what the journal beside `result` does not have yet; number of rows and of failures."""
    journal = result.with_name(result.name + ".journal")
    rows, first = list(lines(given)), done(journal, mark)
    with journal.open("a", encoding="utf-8") as file:
        for line in tqdm(rows[first:], desc="batch", unit="text", initial=first, total=len(rows)):
            file.write(json.dumps(answer(line, predictor)) + "\n")
            file.flush()
    failed = 0
    with params.atomic(result) as draft, draft.open("wb") as target, journal.open("rb") as file:
        next(file)
        for line in file:
            failed += json.loads(line)["record"] is None
            target.write(line)
    journal.unlink()
    return len(rows), failed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path, help='JSON lines: {"input": "..."}')
    parser.add_argument("result", type=Path, help="file to write: .jsonl")
    standard = "(default: %(default)s)"
    parser.add_argument("--threads", type=int, default=2, help=f"processor threads {standard}")
    given = parser.parse_args()
    if not given.texts.is_file():
        parser.error(f"{given.texts} does not exist")
    if given.result.suffix != ".jsonl" or given.result.is_dir():
        parser.error(f"{given.result} must be a file that ends in .jsonl")
    if given.texts.resolve() == given.result.resolve():
        parser.error(f"{given.result} is the file of texts: name another for the result")
    if given.threads < 1:
        parser.error("--threads: at least 1")
    if not (EXPORT / "model.json").is_file():
        parser.error(f"{EXPORT} has no model; run dvc repro")
    return given


def main() -> None:
    given = arguments()
    mark = provenance.file_hash(given.texts, *sorted(EXPORT.iterdir()))[:16]
    predictor = Predictor(EXPORT, given.threads)
    try:
        number, failed = run(given.texts, given.result, predictor, mark)
    except OSError as error:
        reason = f"{error.filename or given.result}: {error.strerror}"
        raise SystemExit(f"batch: {reason}; when it is mended, the same command goes on") from None
    except KeyboardInterrupt:
        raise SystemExit("batch: stopped; the same command goes on") from None
    print(f"batch: {number} texts, {failed} without a record -> {given.result}")


if __name__ == "__main__":
    main()
