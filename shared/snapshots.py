"""The newest answers beside the first ones of the model that serves, as Evidently shows them.

    python -m shared.snapshots                    in a blueprint's folder, after monitor.py
    DO_NOT_TRACK=1 evidently ui --workspace live/evidently

Every number and word that the request log has of both, column by column, by Evidently's own tests,
which find one in twenty columns changed where nothing is: whether to act is monitor.py's to say,
with its minimum sample and its n of m windows; this shows what it looks like. Needs the package
evidently, which nothing else does.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from shared import joining, objectives

Row = dict[str, Any]
LEAST = 30  # answers of each part
LONGEST = 32  # lists of numbers have no more columns than this
MOST_WORDS = 50  # different ones of a column
OWN = {"schema", "id", "time", "model", "timestamp"}  # of the log itself


def flat(record: Row, prefix: str = "") -> Row:
    """{"seen": {"level": 1}, "at": [2, 3]} -> {"seen.level": 1, "at.0": 2, "at.1": 3}."""
    found: Row = {}
    for name, value in record.items():
        if isinstance(value, list):
            value = {str(i): one for i, one in enumerate(value[:LONGEST])}
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def table(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame([flat({k: v for k, v in row.items() if k not in OWN}) for row in rows])


def kinds(first: pd.DataFrame, newest: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Columns of numbers, and columns of a few different words, that both tables have."""
    numbers, words = [], []
    for name in first.columns.intersection(newest.columns):
        parts = [part[name].dropna() for part in (first, newest)]
        both = pd.concat(parts).infer_objects()
        if not all(map(len, parts)):
            continue
        if is_numeric_dtype(both) and not is_bool_dtype(both):
            numbers.append(name)
        elif both.map(str).nunique() <= MOST_WORDS:
            words.append(name)
    return numbers, words


def ends(live: Path, count: int) -> tuple[str, list[Row], list[Row]]:
    """The model that serves, its first answers and its newest, which do not overlap.

    Raises SystemExit where the monitor knows too few.
    """
    if not (live / "monitor.db").exists():
        raise SystemExit(f"{live} has no monitor.db: run python monitor.py first")
    joined = joining.Joined(live / "monitor.db")
    model = joined.serving() or "none"
    known = joined.answers(model)
    if (each := min(count, known // 2)) < LEAST:
        raise SystemExit(f"{live}: {known} answers of model {model}; needed: {2 * LEAST}")
    return model, joined.answered(model, each), joined.answered(model, each, newest=True)


def take(first: list[Row], newest: list[Row]) -> Any:
    """Evidently's snapshot: drift of each column, and a summary of it."""
    try:
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset, DataSummaryPreset
    except ImportError:
        raise SystemExit("evidently is not installed here: pip install evidently==0.7.23") from None
    before, after = table(first), table(newest)
    numbers, words = kinds(before, after)
    columns = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    parts = [
        Dataset.from_pandas(one[numbers + words].astype(dict.fromkeys(words, str)), columns)
        for one in (after, before)
    ]
    return Report([DataDriftPreset(), DataSummaryPreset()], include_tests=True).run(*parts)


def keep(snapshot: Any, live: Path, name: str) -> Path:
    """The page, and a run of the project `name` in the workspace live/evidently."""
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(live / "evidently"))
    project = next(iter(workspace.search_project(name)), None) or workspace.create_project(name)
    workspace.add_run(project.id, snapshot)
    snapshot.save_html(str(live / "evidently.html"))
    return live / "evidently.html"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--live", type=Path, default=Path("live"), help="the monitor's folder")
    parser.add_argument("--count", type=int, default=500, help="at most, of each part")
    asked = parser.parse_args()
    model, first, newest = ends(asked.live, asked.count)
    page = keep(take(first, newest), asked.live, objectives.load().name)
    print(f"snapshots: {len(newest)} newest answers of {model} beside the first ones -> {page}")


if __name__ == "__main__":
    main()
