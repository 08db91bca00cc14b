"""What people should label next, for a spreadsheet and for Label Studio; and their labels back.

Label Studio's formats: https://labelstud.io/guide/tasks and https://labelstud.io/guide/export
"""

import contextlib
import csv
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from shared import params
from shared.requestlog import written

Row = dict[str, Any]
Measure = Callable[[Row], float]


def write(rows: list[Row], measures: Mapping[str, Measure], number: int, folder: Path) -> int:
    """`number` rows -> labelling.csv and labelling.json (tasks), those first that tell most.

    measures: name -> a reason to look at a row, 0: none. They take turns: their units differ.
    """
    found = [{name: measure(row) for name, measure in measures.items()} for row in rows]
    chosen, tasks = in_turns(found, list(measures))[:number], []
    with params.atomic(folder / "labelling.csv") as draft, draft.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["request_id", *measures, "shown", "truth"])
        for row, reasons in ((rows[i], found[i]) for i in chosen):
            shown = {key: value for key, value in row.items() if key not in ("id", "image")}
            told = [f"{value:.4f}" for value in reasons.values()]
            table.writerow([row["id"], *told, json.dumps(shown), ""])
            meta = {name: round(value, 4) for name, value in reasons.items()}
            tasks.append({"data": task(row), "meta": meta})
    params.write_json(folder / "labelling.json", tasks)
    return len(chosen)


def in_turns(found: list[dict[str, float]], names: list[str]) -> list[int]:
    """Numbers of rows: the greatest of each measure, the second of each, ...; then the rest."""
    orders = [
        sorted((i for i, row in enumerate(found) if row[name] > 0), key=lambda i: -found[i][name])
        for name in names
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*orders))
    return list(dict.fromkeys(i for i in [*turns, *range(len(found))] if i is not None))


def task(row: Row) -> Row:
    """`data` of a task: the record's own fields; a picture as an address that a browser shows."""
    data = {"request_id": row["id"], **{key: value for key, value in row.items() if key != "id"}}
    if "image" in row:
        data["image"] = f"data:image/png;base64,{row['image']}"
    return data


def truths(path: Path, kind: Any = Any) -> Iterator[tuple[str, Any]]:
    """Labels by request id: a CSV request_id,truth, or Label Studio's JSON export.

    In both a truth that is JSON is read as such, another is text, an empty one is left out.
    kind: their type, for pydantic. Raises SystemExit for a file of another form, another type.
    """
    adapter = TypeAdapter[Any](kind, config=ConfigDict(allow_inf_nan=False))
    for identity, text in (_of_label_studio if path.suffix == ".json" else _of_table)(path):
        try:
            value = _typed(text, adapter)
        except ValueError:
            name = getattr(kind, "__name__", kind)
            raise SystemExit(f"{path}: {identity}: truth {text!r:.80} is no {name}") from None
        yield identity, value


def _typed(text: str, adapter: TypeAdapter[Any]) -> Any:
    """The value as JSON where that has the type; else, as NaN, which JSON has not, as text."""
    with contextlib.suppress(ValueError):
        value = adapter.validate_python(json.loads(text, parse_constant=int))  # which takes no NaN
        written(value)
        return value
    return adapter.validate_python(text)


def _of_table(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := {"request_id", "truth"} - set(reader.fieldnames or []):
            raise SystemExit(f"{path}: missing columns {', '.join(sorted(missing))}")
        for row in reader:
            if row["truth"]:
                yield row["request_id"], row["truth"]


def _of_label_studio(path: Path) -> Iterator[tuple[str, str]]:
    """The newest annotation of each task that was not skipped: its choice, or its text."""
    try:
        for done in json.loads(path.read_text(encoding="utf-8")):
            whole = [one for one in done["annotations"] if not one.get("was_cancelled")]
            if not (results := [one["result"] for one in whole if one["result"]]):
                continue
            value = results[-1][0]["value"]
            (given,) = value["choices"] if "choices" in value else value["text"]
            yield done["data"]["request_id"], given
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path}: not an export of Label Studio: {error!r}") from None
