"""Pieces of a self-contained HTML page: numbers, tables, charts, pictures with captions."""

import base64
import io
from html import escape
from typing import Any

import pandas as pd
from manifest import picture
from matplotlib.figure import Figure
from PIL import Image

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:72em;margin:2em auto;padding:0 1em}
h2{margin:2em 0 .5em;border-bottom:1px solid #ddd} h3{margin:1em 0 .3em} p{margin:.5em 0}
.row{display:flex;flex-wrap:wrap;gap:.8em} .tile{background:#f2f4f8;padding:.6em 1em}
.tile b{display:block;font-size:1.6em;line-height:1.2}
figure{margin:0} figure img{height:8em;margin-right:2px}
figcaption{font-size:.75em;line-height:1.3;color:#555;width:10.6em;overflow-wrap:anywhere}
.chart{max-width:100%} table{border-collapse:collapse;margin:.5em 0}
td,th{padding:.3em 1em;border-bottom:1px solid #ddd;text-align:left;font-weight:normal}
th{font-weight:bold}
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
    cells = [f'<div class="tile"><b>{value}</b>{name}</div>' for name, value in numbers.items()]
    return f'<div class="row">{"".join(cells)}</div>'


def grid(rows: pd.DataFrame) -> str:
    """A table; the index is its first column."""
    if rows.empty:
        return "<p>None.</p>"
    lines = ["".join(f"<th>{escape(str(name))}</th>" for name in [rows.index.name, *rows])]
    for row in rows.itertuples():
        lines.append("".join(f"<td>{escape(str(cell))}</td>" for cell in row))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def chart(figure: Figure, alt: str) -> str:
    """A figure as an image; it carries no date, so that two runs give the same bytes."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return _inline(buffer.getvalue(), "png", alt, 'class="chart" ')


def gallery(cards: list[tuple[list[str], str]], limit: int) -> str:
    """Up to `limit` groups of ingested images, each with its caption."""
    if not cards:
        return "<p>None.</p>"
    figures = []
    for names, text in cards[:limit]:
        images = "".join(_inline(_thumbnail(name), "jpeg", name) for name in names)
        caption = escape(text).replace("\n", "<br>")
        figures.append(f"<figure>{images}<figcaption>{caption}</figcaption></figure>")
    more = f"<p>{len(cards) - limit} more are not shown.</p>" if len(cards) > limit else ""
    return f'<div class="row">{"".join(figures)}</div>{more}'


def _thumbnail(name: str) -> bytes:
    small, buffer = Image.fromarray(picture(name)), io.BytesIO()
    small.thumbnail((256, 256))
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _inline(content: bytes, kind: str, alt: str, attributes: str = "") -> str:
    code = base64.b64encode(content).decode()
    return f'<img {attributes}alt="{escape(alt)}" src="data:image/{kind};base64,{code}">'
