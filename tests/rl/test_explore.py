"""The page is whole in itself, says what it must, and is the same each time."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rl import markets, stages
from shared import params


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page() -> str:
    stages.run("explore")
    return Path("reports/explore.html").read_text()


def test_the_page_of_prices(folder: Path) -> None:
    table = stages.history(folder).rename(columns={"load": "<load>"})
    table.loc[3:9, "price"] = -4.0
    table.to_csv(folder / "prices.csv", index=False)
    stages.parameters(folder, ingest={"signals": ["<load>"]})
    stages.run("ingest", "validate")
    text = page()
    for section in ("History", "Price duration", "Shape of the day", "Memory", "Spread", "Signals"):
        assert f"<h2>{section}</h2>" in text
    assert "gaps: 3" in text and "&lt;load&gt;" in text and "<load>" not in text
    assert not re.search(r'(src|href)="(?!data:)', text) and text.count("data:image/png") >= 8
    assert page() == text


def test_the_page_of_an_environment_without_prices(folder: Path) -> None:
    stages.parameters(folder, env={"id": "CartPole-v1"})
    stages.run("ingest", "validate")
    text = page()
    assert "Random play in CartPole-v1" in text and "Discrete(2)" in text


TITLES = ["History", "Price duration", "Shape of the day", "Memory", "Spread", "Samples"]


def sections(text: str) -> dict[str, str]:
    return dict(zip(*[iter(re.split("<h2>(.*?)</h2>", text)[1:])] * 2, strict=True))


def tiles(text: str) -> dict[str, str]:
    return {name: value for value, name in re.findall(r"<b>([^<]*)</b>([^<]*)</div>", text)}


class Nesting(HTMLParser):
    """Notes addresses, and tags that are closed in another order than they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open += [tag] * (tag not in ("img", "meta", "br"))
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.wrong.append(tag)


def whole(text: str) -> bool:
    """Is it one HTML document that asks nothing of the network?"""
    nesting = Nesting()
    nesting.feed(text)
    inside = all(address.startswith("data:image/png;base64,") for address in nesting.addresses)
    loads = re.search(r"https?:|<script|<link|@import|url\(", text)
    return nesting.wrong == nesting.open == [] and inside and loads is None


def shown(minutes: int, prices: np.ndarray, holes: Any = (), **changes: Any) -> str:
    """The page on these prices from midnight in Berlin on, without some of the steps."""
    times = pd.date_range("2024-03-01", periods=len(prices), freq=f"{minutes}min", tz="Etc/GMT-1")
    table = pd.DataFrame({"timestamp": times, "price": prices})
    table.drop(index=list(holes)).to_csv("prices.csv", index=False)
    stages.parameters(Path(), **changes)
    stages.run("ingest", "validate")
    return page()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("minutes", "day"), [(60, 24), (30, 48)])
def test_every_step_has_a_whole_page_through_gaps_and_prices_below_zero(
    folder: Path, minutes: int, day: int
) -> None:
    prices = markets.prices(40, day)
    prices[5 * day : 6 * day] = -prices[5 * day : 6 * day]
    holes = range(9 * day, 9 * day + 7)
    text = shown(minutes, prices, holes)
    assert whole(text) and list(sections(text)) == [*TITLES, "Findings of validation"]
    assert [sections(text)[title].count("<img") for title in TITLES] == [1, 1, 1, 1, 1, 3]
    numbers = tiles(text)
    assert numbers["days"] == "40" and numbers["minutes per step"] == str(minutes)
    assert numbers["below zero"] == "2.5%" and numbers["steps without a price"] == "7"


@pytest.mark.filterwarnings("error")
def test_days_that_are_all_alike_have_a_page_too(folder: Path) -> None:
    shape = 40 + np.round(9 * np.sin(np.arange(24) * np.pi / 12))
    text = shown(60, np.tile(shape, 30))
    assert whole(text) and tiles(text)["median spread of a day"] == "18.00"


def test_samples_that_are_longer_than_the_history_show_all_of_it(folder: Path) -> None:
    text = shown(60, markets.prices(30), explore={"days_shown": 400})
    assert sections(text)["Samples"].count("<img") == 1 and whole(text)


def test_the_numbers_at_the_top_are_those_of_the_prices(folder: Path) -> None:
    prices = markets.prices(30).round(2)
    numbers = tiles(shown(60, prices))
    assert numbers["median price"] == f"{np.median(prices):,.2f}"
    assert numbers["highest"] == f"{prices.max():,.2f}"
    assert numbers["lowest"] == f"{prices.min():,.2f}"
    assert numbers["signals"] == "0"


def test_findings_are_listed_up_to_the_limit_with_their_moments(folder: Path) -> None:
    text = shown(60, markets.prices(40), range(100, 112), explore={"findings_listed": 5})
    found = sections(text)["Findings of validation"]
    assert "<h3>gaps: 12</h3>" in found and "7 more are not shown." in found
    assert found.count("no price at this step") == 5 and "2024-03-05T03:00:00" in found
    assert "<h3>irregular: 0</h3><p>None.</p>" in found


def test_signals_with_hostile_names_are_only_text(folder: Path) -> None:
    names = ["<script>alert(1)</script>", '"><img src=x>', "a&b $x^_$", "ü 太阳", "'--"]
    table = stages.history(folder)
    hostile = table.drop(columns="load").assign(**dict.fromkeys(names, table["load"]))
    hostile.to_csv(folder / "prices.csv", index=False)
    stages.parameters(folder, ingest={"signals": names})
    stages.run("ingest", "validate")
    text = page()
    cells = re.findall("<td>(.*?)</td>", sections(text)["Signals"])
    assert whole(text) and [unescape(cell) for cell in cells[::6]] == names


def test_a_signal_has_its_numbers(folder: Path) -> None:
    table = stages.history(folder)
    stages.parameters(folder, ingest={"signals": ["load"]})
    stages.run("ingest", "validate")
    part = sections(page())["Signals"]
    cells = re.findall("<td>(.*?)</td>", part)
    leak = params.read_json("reports/validation.json")["leakage"]["load"]
    correlation = table["load"].corr(table["price"], "spearman")
    assert cells[:2] == ["load", f"{table['load'].median():,.4g}"]
    assert cells[3] == f"{3 / (70 * 24):.1%}" and cells[4] == f"{correlation:.2f}"
    assert cells[5] == f"{leak:.2f}"


def test_random_play_has_the_same_whole_page_each_time(folder: Path) -> None:
    stages.parameters(folder, env={"id": "Pendulum-v1"}, validate={"random_episodes": 8})
    stages.run("ingest", "validate")
    text = page()
    assert whole(text) and list(sections(text)) == ["Random play in Pendulum-v1"]
    assert text.count("<img") == 1 and "return of random play" in tiles(text)
    assert page() == text


def test_a_mistake_in_the_parameters_is_named(folder: Path) -> None:
    stages.parameters(folder, explore={"days_shown": 0})
    with pytest.raises(SystemExit, match=r"params.yaml: explore.days_shown: .*greater than 0"):
        stages.run("explore")
