"""The page on the data: whole, self-contained, the same each time, and with pictures to look at."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import explore
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from shared import params


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Twelve pictures of two classes and two subgroups, and a report that doubts some of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "stage", params.read)  # twice in one process: no lock
    Path("data/raw/images").mkdir(parents=True)
    rows = []
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 30), dtype=np.uint8)
        Image.fromarray(pixels).save(f"data/raw/images/{i:06d}.png")
        path = "bad/<b>&.png" if i == 0 else f"x/{i}.png"
        kind = {"label": ["bad", "None"][i % 2], "subgroup": ["mono", "poly", ""][i % 3]}
        size = {"width": 30, "height": 40, "brightness": i, "contrast": 5.0}
        rows.append({"image": f"{i:06d}.png", "path": path} | kind | size)
    pd.DataFrame(rows).to_csv("data/checked.csv", index=False)
    shown = [{key: row[key] for key in ("image", "path", "label")} for row in rows]
    twins = {"bits": 2, "of": "x/2.png", "of_image": "000002.png"}
    report: dict[str, Any] = {
        "usable": 12,
        "exact_duplicates": 0,
        "near_duplicate_pairs": 1,
        "label_signal_auc": 0.75,
        "problems": [{"path": "x/cut.png", "problem": "image: is truncated"}],
        "duplicates": [shown[1] | twins],
        "label_conflicts": [],
        "doubtful_labels": [row | {"probability_of_label": 0.04} for row in shown[:5]],
    }
    params.write_json("reports/validation.json", report)
    section = {"samples_per_class": 4, "pictures_listed": 3}
    Path("params.yaml").write_text(yaml.safe_dump({"explore": section}))
    return pd.DataFrame(rows)


class Nesting(HTMLParser):
    """Notes tags that are closed in another order than they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open += [tag] * (tag not in ("img", "meta", "br"))

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_whole_and_needs_nothing_beside_it(data: pd.DataFrame) -> None:
    explore.main()
    text = explore.PAGE.read_text(encoding="utf-8")
    nesting = Nesting()
    nesting.feed(text)
    assert nesting.wrong == nesting.open == []
    assert set(re.findall(r'src="(.{10})', text)) == {"data:image"} and "http" not in text
    assert "<b>&.png" not in text and "&lt;b&gt;&amp;.png" in text


def test_doubts_and_twins_are_shown_as_pictures_up_to_the_limit(data: pd.DataFrame) -> None:
    explore.main()
    text = explore.PAGE.read_text(encoding="utf-8")
    parts = dict(zip(*[iter(re.split("<h2>(.*?)</h2>", text)[1:])] * 2, strict=True))
    assert parts["Samples"].count("<img") == 8
    assert parts["Doubtful labels"].count("<img") == 3
    assert "labelled bad; model: 4.0%" in parts["Doubtful labels"]
    assert "2 more are not shown" in parts["Doubtful labels"]
    assert parts["Duplicates"].count("<img") == 2 and "2 of 256 bits" in parts["Duplicates"]
    assert "None." in parts["Copies with different labels"]
    assert "image: is truncated" in parts["Unusable files"]


def test_two_runs_give_the_same_bytes(data: pd.DataFrame) -> None:
    explore.main()
    first = explore.PAGE.read_bytes()
    explore.main()
    assert explore.PAGE.read_bytes() == first


def test_subgroups_are_counted_with_the_share_of_each_class(data: pd.DataFrame) -> None:
    counts = explore.subgroups(data)
    assert list(counts.index) == ["mono", "not given", "poly", "in total"]
    assert counts.loc["mono"].tolist() == ["2 (50%)", "2 (50%)", "4 (100%)"]
    assert counts.loc["in total"].tolist() == ["6 (50%)", "6 (50%)", "12 (100%)"]
