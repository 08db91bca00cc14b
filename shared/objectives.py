"""objectives.yaml: business requirements as executable key results; release gate, report, table.

python -m shared.objectives check     the file is consistent, every metric is produced by something
python -m shared.objectives gate      hold the measured numbers to it; report; exit 1 on a miss
python -m shared.objectives report    render reports/objectives.md from reports/objectives.json
python -m shared.objectives table     one row per blueprint folder given
python -m shared.objectives compile   alert rules, their tests, dashboard ... -> live/compiled/
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from shared import params
from shared.keyresult import SERVICE_METRICS, VALID_SHARE, Strict
from shared.keyresult import KeyResult as KeyResult

# Which file has the metrics whose name begins so.
FILES = {"": "metrics.json", "export.": "export.json", "validation.": "reports/validation.json"}
Target = Literal["cloud", "edge", "standalone"]


class Requirement(Strict):
    id: str
    kind: Literal["business", "nfr"]
    text: str
    owner: str


class Objective(Strict):
    objective: str
    key_results: list[KeyResult] = Field(min_length=1)


class Rejected(Strict):
    name: str
    because: str


class Choice(Strict):
    chosen: str
    rejected: list[Rejected] = Field(default_factory=list)


class Architecture(Strict):
    model: Choice
    patterns: list[str] = Field(default_factory=list)


class Budget(Strict):
    """The most of each that a target may take; checked when it is built and smoke-tested."""

    image_mb: float | None = None
    model_mb: float | None = None
    latency_p95_ms: float | None = None
    memory_mb: float | None = None
    ready_s: float | None = None  # from the start to the first healthy answer


class Objectives(Strict):
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    ai_type: Literal["cv", "timeseries", "rl", "genai"]
    problem: str
    licence: str | None = None  # of all that is packaged, code, weights, data: an SPDX expression
    requirements: list[Requirement] = Field(min_length=1)
    objectives: list[Objective] = Field(min_length=1)
    architecture: Architecture
    targets: dict[Target, Budget] = Field(default_factory=dict)

    @property
    def key_results(self) -> list[KeyResult]:
        return [result for objective in self.objectives for result in objective.key_results]

    @property
    def release(self) -> list[KeyResult]:
        return [result for result in self.key_results if result.when == "release"]

    @property
    def live(self) -> list[KeyResult]:
        return [result for result in self.key_results if result.when == "live"]

    @model_validator(mode="after")
    def _traced(self) -> "Objectives":
        ids = [requirement.id for requirement in self.requirements]
        names = ids + [result.id for result in self.key_results]
        twice = {name for name in names if names.count(name) > 1}
        used = {result.requirement for result in self.key_results}
        for problem, found in {
            "ids used twice": twice,
            "key results that name an unknown requirement": used - set(ids),
            "requirements without a key result": set(ids) - used,
        }.items():
            if found:
                raise ValueError(f"{problem}: {', '.join(sorted(found))}")
        if not self.release:
            raise ValueError("no key result has 'when: release': nothing would gate a release")
        return self


def load(path: str | Path = "objectives.yaml") -> Objectives:
    """The checked file; SystemExit with one line per mistake."""
    try:
        return Objectives.model_validate(params.load_yaml(path))
    except ValidationError as error:
        raise SystemExit("\n".join(params.explain(error, str(path)))) from None


def measured(folder: Path) -> dict[str, float]:
    """Every number of FILES by its dotted name, e.g. `test.auc`, `export.onnx_int8.size_mb`."""
    flat: dict[str, Any] = {}
    for prefix, name in FILES.items():
        if (folder / name).exists():
            flat |= params.flatten(params.read_json(folder / name), prefix)
    return {key: float(value) for key, value in flat.items() if isinstance(value, int | float)}


def unproduced(key_results: list[KeyResult], folder: Path) -> list[str]:
    """Key results whose metric nothing produces: no number (release), not declared (live)."""
    declared = {*SERVICE_METRICS, VALID_SHARE}
    if (folder / "reports/reference.json").exists():
        declared |= set(params.read_json(folder / "reports/reference.json")["live_metrics"])
    known = {"release": set(measured(folder)), "live": declared}
    return [
        f"{result.id}: nothing produces {result.metric} ({result.when} metrics known: "
        f"{', '.join(sorted(known[result.when])) or 'none'})"
        for result in key_results
        if result.metric not in known[result.when]
    ]


def verdicts(objectives: Objectives, values: dict[str, float]) -> list[dict[str, Any]]:
    """One row per key result: what was wanted, measured, and whether it holds (live: not known)."""
    rows = []
    for objective in objectives.objectives:
        for result in objective.key_results:
            value = values.get(result.metric) if result.when == "release" else None
            row = {
                "objective": objective.objective,
                "id": result.id,
                "requirement": result.requirement,
                "metric": result.metric,
                "target": result.target,
                "when": result.when,
                "measured": value,
                "passed": None if value is None else result.holds(value),
                "then": result.then,
            }
            rows.append(row)
    return rows


def main() -> None:
    from shared import compiling, report  # what is made of it; apart from the semantics above

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=[*report.COMMANDS, "compile"])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path()], help="blueprint folders")
    compiling.options(parser)
    arguments = parser.parse_args()
    commands = report.COMMANDS | {"compile": partial(compiling.write, asked=arguments)}
    code = max(commands[arguments.command](folder) for folder in arguments.folders)
    if arguments.command == "gate":
        from shared import tracking  # a run that misses its targets is recorded too

        tracking.record()
    sys.exit(code)


if __name__ == "__main__":
    main()
