"""Stage `explore`: what is in the data -> reports/explore.html, one self-contained page."""

from html import escape
from pathlib import Path
from typing import Any

import manifest
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from page import chart, gallery, grid, page, tiles
from pydantic import PositiveInt

from shared import params

CHECKED, PAGE = Path("data/checked.csv"), Path("reports/explore.html")
Report = dict[str, Any]
UNITS = {"width": "pixels", "height": "pixels", "brightness": "levels", "contrast": "levels"}


class ExploreParams(params.Params):
    samples_per_class: PositiveInt
    pictures_listed: PositiveInt


def class_balance(table: pd.DataFrame) -> Figure:
    """Images per class, stacked by subgroup."""
    counts = table.groupby(["label", "subgroup"]).size().unstack(fill_value=0)
    figure = Figure(figsize=(10, 1 + 0.5 * len(counts)))
    axes, left = figure.subplots(), np.zeros(len(counts))
    for i, (subgroup, column) in enumerate(counts.items()):
        axes.barh(counts.index, column, 0.6, left, label=subgroup, color=f"C{i + 2}")
        left += column.to_numpy()
    axes.set(xlabel="images")
    if counts.shape[1] > 1:
        axes.legend(title="subgroup")
    return figure


def distributions(table: pd.DataFrame) -> Figure:
    """Width, height, brightness and contrast of each class."""
    figure = Figure(figsize=(13, 2.6))
    axes = figure.subplots(1, len(UNITS))
    for axis, (column, unit) in zip(axes, UNITS.items(), strict=True):
        bins = np.linspace(table[column].min() - 1, table[column].max() + 1, 40)
        for label, rows in table.groupby("label"):
            axis.hist(rows[column], bins, alpha=0.6, density=True, label=label)
        axis.set(xlabel=f"{column} ({unit})", yticks=[])
        axis.locator_params("x", nbins=5, integer=True)
    axes[-1].legend()
    return figure


def subgroups(table: pd.DataFrame) -> pd.DataFrame:
    """Images per subgroup and class, with the class's share of the subgroup."""
    names = table["subgroup"].replace("", "not given")
    counts = pd.crosstab(names, table["label"], margins=True, margins_name="in total")
    shares = counts.div(counts["in total"], axis=0)
    return counts.map("{:,}".format) + shares.map(" ({:.0%})".format)


def samples(table: pd.DataFrame, per_class: int) -> str:
    """Pictures of each class, drawn evenly over it."""
    found = ""
    for label, rows in table.groupby("label"):
        chosen = np.linspace(0, len(rows) - 1, min(per_class, len(rows))).astype(int)
        cards = [([row.image], row.path) for row in rows.iloc[chosen].itertuples()]
        found += f"<h3>{escape(str(label))}</h3>{gallery(cards, per_class)}"
    return found


def sections(table: pd.DataFrame, report: Report, config: ExploreParams) -> dict[str, list[str]]:
    """Title -> what it tells, and pictures or tables: what there is, then what to look at twice."""
    limit = config.pictures_listed
    doubt = "labelled {label}; model: {probability_of_label:.1%}\n{path}"
    twins = "{bits} of 256 bits differ\n{path}\n{of}"
    unusable = pd.DataFrame(report["problems"][:limit], columns=["path", "problem"])
    return {
        "Classes and subgroups": [
            "In brackets: the class's share of the subgroup.",
            chart(class_balance(table), "Images per class"),
            grid(subgroups(table)),
        ],
        "Size, brightness, contrast": [
            "Where classes differ here, a model may learn the camera instead of the defect.",
            chart(distributions(table), "Histograms per class"),
        ],
        "Samples": ["Drawn evenly over each class.", samples(table, config.samples_per_class)],
        "Doubtful labels": [
            "A simple model doubts these labels, the first most. It may be wrong: have them "
            "checked by someone who knows the parts.",
            gallery(cards(report["doubtful_labels"], doubt), limit),
        ],
        "Duplicates": [
            "One of several exact copies is kept. Near duplicates go into the same split.",
            gallery(cards(report["duplicates"], twins), limit),
        ],
        "Copies with different labels": [
            "Left out, since one of the labels must be wrong.",
            gallery(cards(report["label_conflicts"], "labelled {label}\n{path}"), limit),
        ],
        "Unusable files": [
            "Left out for the reason given; reports/validation.json lists all.",
            grid(unusable.set_index("path")),
        ],
    }


def cards(rows: list[dict[str, Any]], caption: str) -> list[tuple[list[str], str]]:
    """Images and caption of each row of the validation report."""
    return [
        ([row[key] for key in ("image", "of_image") if key in row], caption.format(**row))
        for row in rows
    ]


def main() -> None:
    config = params.stage("explore", ExploreParams)
    table, report = manifest.read(CHECKED), params.read_json("reports/validation.json")
    numbers = {
        "usable images": f"{report['usable']:,}",
        "unusable files": len(report["problems"]),
        "exact copies": report["exact_duplicates"],
        "near-duplicate pairs": report["near_duplicate_pairs"],
        "copies with different labels": len(report["label_conflicts"]),
        "doubtful labels": len(report["doubtful_labels"]),
        "AUC of a simple model (chance: 0.5)": f"{report['label_signal_auc']:.2f}",
    }
    with params.atomic(PAGE) as draft:
        text = page("The data at a glance", tiles(numbers), sections(table, report, config))
        draft.write_text(text, encoding="utf-8")
    print(f"explore: {PAGE}")


if __name__ == "__main__":
    main()
