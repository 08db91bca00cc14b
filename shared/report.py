"""What objectives.py found, for people: lines, reports/objectives.{json,md}, a demo's table."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared import objectives, params


def check(folder: Path) -> int:
    """Print what is inconsistent in objectives.yaml or produced by nothing; 1 if anything is."""
    path = folder / "objectives.yaml"
    problems = objectives.unproduced(objectives.load(path).key_results, folder)
    print("\n".join(problems) or f"{path}: consistent, every metric is produced")
    return 1 if problems else 0


def gate(folder: Path) -> int:
    """Write the report, print what is missed; 1 if a release key result is missed or unmeasured."""
    loaded = objectives.load(folder / "objectives.yaml")
    problems = objectives.unproduced(loaded.key_results, folder)
    rows = objectives.verdicts(loaded, objectives.measured(folder))
    missed = [
        f"{row['id']} missed: {row['metric']} target {row['target']}, measured {_number(row)}"
        for row in rows
        if row["passed"] is False
    ]
    passed = not problems and not missed
    content = {"name": loaded.name, "passed": passed, "key_results": rows}
    params.write_json(folder / "reports/objectives.json", content)
    _write(folder, {})  # a stage writes the same, whatever is measured beside it
    for line in [*problems, *missed]:
        print(f"gate: {line}", file=sys.stderr)
    if passed:
        print(f"gate: {sum(row['passed'] is True for row in rows)} release key results hold")
    return 0 if passed else 1


def report(folder: Path) -> int:
    """reports/objectives.md with what the monitor has measured, where there is live/values.json."""
    path = folder / "live/values.json"
    return _write(folder, params.read_json(path) if path.exists() else {})


def _write(folder: Path, live: dict[str, Any]) -> int:
    """Requirement -> objective -> key result -> measured; architecture. live: as in values.json."""
    loaded = objectives.load(folder / "objectives.yaml")
    rows = params.read_json(folder / "reports/objectives.json")["key_results"]
    rows = [_observed(row, live) if row["when"] == "live" else row for row in rows]
    lines = [f"# Objectives of {loaded.name}", "", loaded.problem.strip()]
    asked = [[asked.id, asked.kind, asked.text, asked.owner] for asked in loaded.requirements]
    lines += ["", "## Requirements", "", *_table("id|kind|requirement|owner", asked)]
    for title in dict.fromkeys(row["objective"] for row in rows):
        cells = [
            [row["id"], row["requirement"], f"`{row['metric']}`", row["target"], *_found(row)]
            for row in rows
            if row["objective"] == title
        ]
        head = "key result|requirement|metric|target|measured|verdict|measured where"
        lines += ["", f"## {title}", "", *_table(head, cells)]
    model = loaded.architecture.model
    lines += ["", "## Architecture", "", f"Chosen: {model.chosen}", ""]
    lines += _table("rejected|because", [[other.name, other.because] for other in model.rejected])
    lines += ["", *[f"- {pattern}" for pattern in loaded.architecture.patterns]]
    with params.atomic(folder / "reports/objectives.md") as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def table(folder: Path) -> int:
    """Print one blueprint's key results, targets, what was measured, verdicts, where to read on."""
    path = folder / "reports/objectives.json"
    if not path.exists():
        print(f"{folder.name}: no report yet; run dvc repro")
        return 1
    rows = [row for row in params.read_json(path)["key_results"] if row["when"] == "release"]
    cells = [
        [folder.resolve().name, row["id"], row["metric"], row["target"], *_found(row)[:2]]
        for row in rows
    ]
    head = ["blueprint", "key result", "metric", "target", "measured", "verdict"]
    widths = [max(len(row[i]) for row in [head, *cells]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *cells]:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(padded).rstrip())
    pages = ("reports/objectives.md", "reports/explore.html", "plots/")
    print(f"reports: {', '.join(f'{folder}/{page}' for page in pages)}")
    return 0 if all(row["passed"] for row in rows) else 1


def verdict(row: dict[str, Any]) -> str:
    if row["passed"] is None:
        return "live" if row["when"] == "live" else "not measured"
    return "pass" if row["passed"] else "FAIL"


def _observed(row: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    state = live.get(row["id"], {})
    passed = not state["breached"] if state else None
    return {**row, "measured": live.get(row["metric"]), "passed": passed, **state}


def _found(row: dict[str, Any]) -> list[str]:
    return [_number(row), verdict(row), _where(row)]


def _number(row: dict[str, Any]) -> str:
    value = row["measured"]
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _where(row: dict[str, Any]) -> str:
    if row["when"] == "live":
        windows = f", {row['windows']} windows" if "windows" in row else ""
        return f"in production{windows}; on a miss: {row['then']}"
    for prefix, name in objectives.FILES.items():
        if prefix and row["metric"].startswith(prefix):
            return name
    return objectives.FILES[""]


def _table(head: str, rows: list[list[str]]) -> list[str]:
    names = head.split("|")
    cells = [names, ["---"] * len(names), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


COMMANDS: dict[str, Callable[[Path], int]] = {
    "check": check,
    "gate": gate,
    "report": report,
    "table": table,
}
