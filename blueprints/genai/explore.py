"""Stage `explore`: what is in the examples -> reports/explore.html, one self-contained page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from page import chart, grid, page, tiles
from pydantic import NonNegativeInt
from records import Json, fields, value

from shared import params

CHECKED, PAGE = Path("data/checked.jsonl"), Path("reports/explore.html")
QUANTILES = ("least", "quarter", "middle", "three quarters", "most")


class ExploreParams(params.Params):
    examples_shown: NonNegativeInt
    findings_listed: NonNegativeInt


def lengths(rows: list[Json]) -> Figure:
    """Words of texts and characters of records."""
    figure = Figure(figsize=(11, 2.8), layout="constrained")
    axes = figure.subplots(1, 2)
    values = {
        "words of a text": [len(row["input"].split()) for row in rows],
        "characters of a record": [len(json.dumps(row["output"])) for row in rows],
    }
    for axis, (name, numbers) in zip(axes, values.items(), strict=True):
        axis.hist(numbers, 40, color="C0")
        axis.set(xlabel=name, ylabel="examples")
    return figure


def distribution(name: str, found: Json) -> Figure | None:
    """In how many examples a field has each answer; None for numbers, which the table has."""
    if "counts" not in found:
        return None
    counts = dict(list(found["counts"].items())[:15])
    figure = Figure(figsize=(8, 0.8 + 0.28 * len(counts)), layout="constrained")
    axis = figure.subplots()
    axis.barh(range(len(counts)), list(counts.values()), color="C0")
    names = [label[:40] for label in counts]
    axis.set_yticks(range(len(counts)), names, parse_math=False)  # "$" is no formula here
    axis.set_title(name, parse_math=False)
    axis.set(xlabel="examples", ylim=(max(len(counts), 1) - 0.5, -0.5))  # the commonest at the top
    return figure


def numbers(report: dict[str, Json]) -> pd.DataFrame:
    """Share of null, and quantiles of fields that are numbers."""
    rows = {}
    for name, found in report.items():
        row = {"null": f"{found['null_share']:.0%}", "distinct": found.get("distinct", "")}
        quantiles = found.get("quantiles", [None] * 5)
        for label, number in zip(QUANTILES, quantiles, strict=True):
            row[label] = "" if number is None else f"{number:,.6g}"
        rows[name] = row
    return pd.DataFrame(rows).T.rename_axis("field")


def examples(rows: list[Json], schema: Json, number: int) -> str:
    """Texts with their records, drawn evenly over the lengths."""
    by_length = sorted(rows, key=lambda row: (len(row["input"]), row["id"]))
    places = np.linspace(0, len(rows) - 1, min(number, len(rows))).astype(int)
    chosen = [by_length[i] for i in places]
    columns: list[Any] = [[row["input"] for row in chosen]]
    for name in fields(schema):
        found = (value(row["output"], name) for row in chosen)
        columns.append([json.dumps(answer, ensure_ascii=False) for answer in found])
    names = ["text", *fields(schema)]  # a field may be called text, too
    table = pd.DataFrame(zip(*columns, strict=True), [row["id"] for row in chosen], names)
    return grid(table.rename_axis("id"))


def listed(rows: list[dict[str, Any]], number: int, total: float) -> str:
    """At most `number` findings, of `total` that there are."""
    if not rows:
        return f"<p>{round(total) or 'None'}{' are not listed' * (total > 0)}.</p>"
    return grid(pd.DataFrame(rows).set_index("id"), number, round(total))


def sections(
    rows: list[Json], report: Json, schema: Json, config: ExploreParams
) -> dict[str, list[str]]:
    """Title -> what it tells, and pictures or tables: what there is, then what to look at twice."""
    charts = [(name, distribution(name, found)) for name, found in report["fields"].items()]
    bars = [chart(figure, name) for name, figure in charts if figure]
    cut = "Long texts are cut by prepare.max_text_tokens, records never."
    evenly = "Drawn evenly over the lengths."
    personal = pd.DataFrame({"found": report["personal_data"]}).rename_axis("kind")
    return {
        "Lengths": [cut, chart(lengths(rows), "Histograms of lengths")],
        "Fields": [
            "A field whose answer is nearly always the same teaches little.",
            grid(numbers(report["fields"])),
            *bars,
        ],
        "Examples": [evenly, examples(rows, schema, config.examples_shown)],
        "Personal data": [
            "Found by patterns, so names and addresses are not seen; validate.personal_data: mask "
            "replaces them.",
            grid(personal),
        ],
    } | findings(report, config.findings_listed)


def findings(report: Json, number: int) -> dict[str, list[str]]:
    """Of each kind at most `number`, and how many more there are."""
    rows, usable = report["rows"], report["usable"]
    wrong, other = report["problem_share"] * rows, report["other_language_share"] * usable
    against, near = report["conflict_share"] * rows, report["near_duplicate_pairs"]
    contradict = "Left out, since one of the records must be wrong for the text."
    together = "Put into the same split."
    strange = f"Texts that do not look like {report['language']}."
    return {
        "Unusable lines": ["Left out.", listed(report["problems"], number, wrong)],
        "Texts with different records": [contradict, listed(report["conflicts"], number, against)],
        "Near duplicates": [together, listed(report["near_duplicates"], number, near)],
        "Other languages": [strange, listed(report["other_languages"], number, other)],
    }


def main() -> None:
    config = params.stage("explore", ExploreParams)
    rows = [json.loads(line) for line in CHECKED.read_text(encoding="utf-8").splitlines()]
    report = params.read_json("reports/validation.json")
    schema = params.read_json("data/raw/schema.json")
    shown = {
        "usable examples": f"{report['usable']:,}",
        "tokens of a text, middle": f"{report['tokens']['p50']:,.0f}",
        "tokens of the longest": f"{report['tokens']['max']:,.0f}",
        "fields": len(report["fields"]),
        "exact copies": report["exact_duplicates"],
        "near-duplicate pairs": report["near_duplicate_pairs"],
        "unusable lines": f"{report['problem_share']:.1%}",
    }
    with params.atomic(PAGE) as draft:
        told = sections(rows, report, schema, config)
        draft.write_text(page("The examples at a glance", tiles(shown), told), encoding="utf-8")
    print(f"explore: {PAGE}")


if __name__ == "__main__":
    main()
