"""Stage `explore`: what is in the data -> reports/explore.html, one self-contained page."""

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from shared import params

RAW, CHECKED, PAGE = Path("data/raw"), Path("data/checked.csv"), Path("reports/explore.html")
STYLE = "body{font:16px sans-serif;max-width:1000px;margin:2em auto}img{max-width:100%}td,th{padding:.2em 1em}"


def class_balance(table: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 3))
    counts = table.groupby(["label", "subgroup"]).size().unstack(fill_value=0)
    counts.plot.barh(stacked=True, ax=axes, legend=counts.shape[1] > 1)
    axes.set(xlabel="images", ylabel="")
    return figure


def distributions(table: pd.DataFrame) -> Figure:
    """Sides, brightness and contrast per class: what tells classes apart here may be the camera, not the defect."""
    figure, axes = plt.subplots(1, 4, figsize=(14, 3))
    for axis, column in zip(axes, ["width", "height", "brightness", "contrast"], strict=True):
        low, high = table[column].min(), table[column].max()
        for label, rows in table.groupby("label"):
            axis.hist(
                rows[column],
                bins=np.linspace(low, max(high, low + 1), 40),
                alpha=0.6,
                density=True,
                label=label,
            )
        axis.set(
            xlabel=f"{column} ({'pixels' if column in ('width', 'height') else 'gray levels'})",
            yticks=[],
        )
    axes[-1].legend()
    return figure


def samples(table: pd.DataFrame, per_class: int = 12) -> Figure:
    """A row of pictures per class, drawn evenly over it."""
    groups = list(table.groupby("label"))
    figure, axes = plt.subplots(len(groups), per_class, figsize=(14, 1.4 * len(groups)), squeeze=False)
    for row, (label, rows) in zip(axes, groups, strict=True):
        for axis in row:
            axis.axis("off")
        chosen = rows.iloc[np.linspace(0, len(rows) - 1, min(per_class, len(rows))).astype(int)]
        for axis, name in zip(row, chosen["image"], strict=False):
            axis.imshow(Image.open(RAW / "images" / name).convert("RGB").resize((128, 128)))
        row[0].set_title(str(label), loc="left", fontsize=9)
    return figure


def as_html(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def tables(table: pd.DataFrame, report: dict) -> dict[str, str]:  # type: ignore[type-arg]
    """Sections that are tables: counts per subgroup, problems, duplicates, doubtful labels."""
    counts = table.groupby(["subgroup", "label"]).size().unstack(fill_value=0)
    sections = {"Images per subgroup and class": counts.to_html()}
    for key, title in {
        "problems": "Unusable files",
        "duplicates": "Duplicates",
        "doubtful_labels": "Doubtful labels",
    }.items():
        rows = pd.DataFrame(report[key][:50])
        sections[f"{title} ({len(report[key])})"] = rows.to_html(index=False) if len(rows) else "<p>none</p>"
    return sections


def main() -> None:
    table = pd.read_csv(CHECKED).fillna({"subgroup": ""})
    report = params.read_json("reports/validation.json")
    figures: dict[str, Callable[[pd.DataFrame], Figure]] = {
        "Class balance": class_balance,
        "Size, brightness, contrast": distributions,
        "Samples": samples,
    }
    sections = {title: as_html(draw(table)) for title, draw in figures.items()} | tables(table, report)
    body = "".join(f"<h2>{html.escape(title)}</h2>{content}" for title, content in sections.items())
    head = f"<meta charset=utf-8><title>Data</title><style>{STYLE}</style>"
    head += f"<h1>{len(table)} usable of {report['files']} files</h1>"
    with params.atomic(PAGE) as draft:
        draft.write_text(f"<!doctype html>{head}{body}", encoding="utf-8")
    print(f"explore: {PAGE}")


if __name__ == "__main__":
    main()
