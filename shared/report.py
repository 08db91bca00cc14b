"""What objectives.py found, for people: terminal, reports/objectives.{json,md}, the table of `make demo`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared import objectives, params


def check(folder: Path) -> int:
    """Print what is inconsistent in objectives.yaml or produced by nothing; 1 if anything is."""
    problems = objectives.unproduced(objectives.load(folder / "objectives.yaml"), folder)
    print("\n".join(problems) or f"{folder / 'objectives.yaml'}: consistent, every metric is produced")
    return 1 if problems else 0


def gate(folder: Path) -> int:
    """Write the report; print a line per missed key result; 1 if a release key result is missed or unmeasured."""
    loaded = objectives.load(folder / "objectives.yaml")
    problems = objectives.unproduced(loaded, folder)
    rows = objectives.verdicts(loaded, objectives.measured(folder))
    missed = [
        f"{row['id']} missed: {row['metric']} target {row['target']}, measured {row['measured']:.4g}"
        for row in rows
        if row["passed"] is False
    ]
    passed = not problems and not missed
    params.write_json(
        folder / "reports/objectives.json",
        {"name": loaded.name, "passed": passed, "key_results": rows},
    )
    report(folder)
    for line in [*problems, *missed]:
        print(f"gate: {line}", file=sys.stderr)
    if passed:
        print(f"gate: {sum(row['passed'] is True for row in rows)} release key results hold")
    return 0 if passed else 1


def report(folder: Path) -> int:
    """reports/objectives.md: requirement -> objective -> key result -> measured, and the architecture chosen."""
    loaded = objectives.load(folder / "objectives.yaml")
    rows = params.read_json(folder / "reports/objectives.json")["key_results"]
    lines = [
        f"# Objectives of {loaded.name}",
        "",
        loaded.problem.strip(),
        "",
        "## Requirements",
        "",
    ]
    lines += _table(
        ["id", "kind", "requirement", "owner"],
        [[r.id, r.kind, r.text, r.owner] for r in loaded.requirements],
    )
    for title in dict.fromkeys(row["objective"] for row in rows):
        lines += ["", f"## {title}", ""]
        lines += _table(
            [
                "key result",
                "requirement",
                "metric",
                "target",
                "measured",
                "verdict",
                "measured where",
            ],
            [
                [
                    row["id"],
                    row["requirement"],
                    f"`{row['metric']}`",
                    row["target"],
                    _number(row),
                    verdict(row),
                    _where(row),
                ]
                for row in rows
                if row["objective"] == title
            ],
        )
    lines += ["", "## Architecture", "", f"Chosen: {loaded.architecture.model.chosen}", ""]
    lines += _table(["rejected", "because"], [[r.name, r.because] for r in loaded.architecture.model.rejected])
    lines += ["", *[f"- {pattern}" for pattern in loaded.architecture.patterns]]
    with params.atomic(folder / "reports/objectives.md") as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def table(folder: Path) -> int:
    """Print the rows of one blueprint: its key results, targets, what was measured, verdict, where to read on."""
    path = folder / "reports/objectives.json"
    if not path.exists():
        print(f"{folder.name}: no report yet; run dvc repro")
        return 1
    rows = [row for row in params.read_json(path)["key_results"] if row["when"] == "release"]
    cells = [
        [folder.resolve().name, row["id"], row["metric"], row["target"], _number(row), verdict(row)] for row in rows
    ]
    head = ["blueprint", "key result", "metric", "target", "measured", "verdict"]
    widths = [max(len(row[i]) for row in [head, *cells]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"reports: {folder}/reports/objectives.md, {folder}/reports/explore.html, {folder}/plots/")
    return 0 if all(row["passed"] for row in rows) else 1


def verdict(row: dict[str, Any]) -> str:
    return {True: "pass", False: "FAIL", None: "live" if row["when"] == "live" else "not measured"}[row["passed"]]


def _number(row: dict[str, Any]) -> str:
    return "-" if row["measured"] is None else f"{row['measured']:.4g}"


def _where(row: dict[str, Any]) -> str:
    if row["when"] == "live":
        return f"in production; on a miss: {row['then']}"
    for prefix, name in {
        "export.": "export.json",
        "validation.": "reports/validation.json",
    }.items():
        if row["metric"].startswith(prefix):
            return name
    return "metrics.json"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


COMMANDS: dict[str, Callable[[Path], int]] = {
    "check": check,
    "gate": gate,
    "report": report,
    "table": table,
}
