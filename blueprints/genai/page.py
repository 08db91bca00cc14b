"""Pieces of a self-contained HTML page: numbers, tables, charts."""

import base64
import io
from html import escape
from typing import Any

import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

WIDTH = 11  # inches of a figure as wide as the page
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:72em;margin:2em auto;padding:0 1em}
h2{margin:2em 0 .5em;border-bottom:1px solid #ddd} h3{margin:1em 0 .3em} p{margin:.5em 0}
.row{display:flex;flex-wrap:wrap;gap:.8em} .tile{background:#f2f4f8;padding:.6em 1em}
.tile b{display:block;font-size:1.6em;line-height:1.2}
.chart{display:block;max-width:100%} table{border-collapse:collapse;margin:.5em 0}
td,th{padding:.3em 1em;border-bottom:1px solid #ddd;text-align:left;font-weight:normal}
th{font-weight:bold;vertical-align:bottom} td{overflow-wrap:anywhere}
"""


def page(title: str, lead: str, sections: dict[str, list[str]]) -> str:
    """The whole document; a section is its title, a sentence about it, and parts in HTML."""
    body = [
        f"<h2>{escape(name)}</h2><p>{escape(text)}</p>{''.join(parts)}"
        for name, (text, *parts) in sections.items()
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    lines = ["<!doctype html>", f'<html lang="en"><head>{head}</head>']
    lines += [f"<body><h1>{escape(title)}</h1>", lead, *body, "</body></html>"]
    return "\n".join(lines) + "\n"


def tiles(numbers: dict[str, Any]) -> str:
    """Numbers to be seen at a glance, by what they count."""
    cells = [
        f'<div class="tile"><b>{escape(str(value))}</b>{escape(name)}</div>'
        for name, value in numbers.items()
    ]
    return f'<div class="row">{"".join(cells)}</div>'


def heading(text: str) -> str:
    """What the part below it shows."""
    return f"<h3>{escape(text)}</h3>"


def grid(rows: pd.DataFrame, limit: int | None = None, total: int | None = None) -> str:
    """At most `limit` rows, of `total` that there are; the index is the first column."""
    if rows.empty:
        return "<p>None.</p>"
    lines = ["".join(f"<th>{escape(str(name))}</th>" for name in [rows.index.name, *rows])]
    for row in rows[:limit].itertuples():
        lines.append("".join(f"<td>{escape(str(cell))}</td>" for cell in row))
    table = f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
    hidden = (total or len(rows)) - len(rows[:limit])
    return table + (f"<p>{hidden:,} more are not shown.</p>" if hidden else "")


def panels(height: float, columns: int = 1, width: float = WIDTH) -> tuple[Figure, Any]:
    """A figure, as wide as the page unless told otherwise, and its axes side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def dates(axis: Any) -> None:
    """Dates below an axis, few enough to be read."""
    locator = AutoDateLocator(minticks=3, maxticks=6)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def count(axis: Any) -> None:
    """Series on the vertical axis, in whole numbers."""
    axis.set_ylabel("series")
    axis.locator_params("y", integer=True)


def chart(figure: Figure, alt: str) -> str:
    """A figure as an image; it carries no date, so that two runs give the same bytes."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    code = base64.b64encode(buffer.getvalue()).decode()
    return f'<img class="chart" alt="{escape(alt)}" src="data:image/png;base64,{code}">'
