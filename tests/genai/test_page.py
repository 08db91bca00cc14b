"""Pieces of a page: nothing in them becomes HTML, and the same figure is the same bytes."""

import page
import pandas as pd
from matplotlib.figure import Figure

HOSTILE = '<script>"&'
ESCAPED = "&lt;script&gt;&quot;&amp;"


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([1, 2])
    return drawn


def test_names_and_values_are_escaped_everywhere() -> None:
    table = pd.DataFrame({HOSTILE: [HOSTILE]}, [HOSTILE]).rename_axis(HOSTILE)
    parts = [page.grid(table), page.tiles({HOSTILE: HOSTILE}), page.heading(HOSTILE)]
    parts += [page.page(HOSTILE, "", {HOSTILE: [HOSTILE]}), page.chart(figure(), HOSTILE)]
    for text, times in zip(parts, (4, 2, 1, 4, 1), strict=True):
        assert "<script" not in text and text.count(ESCAPED) == times


def test_a_table_shows_its_first_rows_and_counts_the_others() -> None:
    table = pd.DataFrame({"a": range(5)}).rename_axis("id")
    assert page.grid(table).count("<tr>") == 6 and "more" not in page.grid(table)
    assert page.grid(table, 2).count("<tr>") == 3 and "3 more are not" in page.grid(table, 2)
    assert "1,998 more are not" in page.grid(table, 2, 2000)
    assert page.grid(table, 0).count("<tr>") == 1
    assert page.grid(table.head(0)) == "<p>None.</p>"


def test_columns_of_the_same_name_are_all_shown() -> None:
    table = pd.DataFrame([["x", "y"]], columns=["text", "text"]).rename_axis("id")
    assert "<td>x</td><td>y</td>" in page.grid(table)


def test_a_chart_has_the_same_bytes_each_time() -> None:
    assert page.chart(figure(), "a") == page.chart(figure(), "a")
