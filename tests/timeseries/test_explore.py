"""The page on the data and the numbers on it: strengths, classes of demand, gaps, covariates."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import explore
import numpy as np
import pandas as pd
import profiles
import pytest
import tables
import yaml

from shared import params

STEPS = np.arange(120)
NAME = "shop <b>$x^&_"  # neither HTML nor a formula may be made of it
FINDING = {"series_id": NAME, "timestamps": ["2020-01-01T00:00:00"], "count": 9, "detail": "<i>"}
REPORT: dict[str, Any] = {
    "series": 6,
    "usable_series": 4,
    "checks": {"gaps": 5, "too_short": 0},
    "findings": {"gaps": [FINDING] * 4, "too_short": []},
}


def noise(seed: int, length: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length)


def frame(series: dict[str, Any], frequency: str = "MS") -> pd.DataFrame:
    """A checked table; rows without a value are gaps and are left out."""
    rows = [
        pd.DataFrame(
            {
                "series_id": name,
                "timestamp": pd.date_range("2010-01-01", periods=len(values), freq=frequency),
                "value": np.asarray(values, float),
                "price": noise(len(values), len(values)),
            }
        )
        for name, values in sorted(series.items())
    ]
    return pd.concat(rows, ignore_index=True).dropna()


def seasonal() -> dict[str, Any]:
    """Four series of months: noise, season, trend, and one with the 5th to 8th month missing."""
    season = 10 * np.sin(STEPS * 2 * np.pi / 12)
    gaps = np.where((STEPS > 3) & (STEPS < 8), np.nan, 30 + noise(1))
    trend = 5 + STEPS + noise(2)
    return {NAME: gaps, "noise": 50 + noise(3), "season": 40 + season + noise(4), "trend": trend}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "stage", params.read)  # twice in one process: no lock
    section = {"series_shown": 3, "findings_listed": 3, "series_profiled": 2000}
    Path("params.yaml").write_text(yaml.safe_dump({"explore": section}))
    return tmp_path


def render(table: pd.DataFrame, frequency: str, season_length: int, *covariates: str) -> str:
    Path("data").mkdir(exist_ok=True)
    table.to_parquet(explore.CHECKED, index=False)
    meta = {"frequency": frequency, "season_length": season_length}
    params.write_json(explore.META, meta | {"covariates": list(covariates)})
    params.write_json(explore.REPORT, REPORT)
    explore.main()
    return explore.PAGE.read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    return dict(zip(*[iter(re.split("<h2>(.*?)</h2>", text)[1:])] * 2, strict=True))


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


def test_a_season_is_strong_and_noise_has_neither_trend_nor_season() -> None:
    series = seasonal()
    assert profiles.strengths(series["season"], 12)[1] > 0.9
    trend, season = profiles.strengths(series["trend"], 12)
    assert trend > 0.99 and season < 0.3
    found = np.array([profiles.strengths(noise(seed, 240), 12) for seed in range(20)])
    assert found.max() < 0.3 and found.min() >= 0


def test_strengths_bear_gaps_constants_and_short_series() -> None:
    season = seasonal()["season"]
    gaps = np.where(noise(9) > 1, np.nan, season)
    assert profiles.strengths(gaps, 12)[1] > 0.9
    assert profiles.strengths(np.full(60, 1e6), 12) == (0, 0)
    assert profiles.strengths(np.zeros(60), 1) == (0, 0)
    short = profiles.strengths(np.arange(23.0), 12)
    assert short[0] == pytest.approx(1) and np.isnan(short[1])
    for values in ([], [1.0], [np.nan] * 30, [1, np.nan, 2]):
        assert np.isnan(profiles.strengths(np.array(values, float), 12)).all()
    assert profiles.strengths(season * 1e200, 12) == pytest.approx(profiles.strengths(season, 12))


def test_parts_of_a_series_add_up_to_it_and_gaps_stay_gaps() -> None:
    for length in (1, 12, 100):
        values = np.where(STEPS == 50, np.nan, 5 + STEPS + noise(5))
        trend, season, remainder = profiles.decompose(values, length)
        parts = trend + np.nan_to_num(season) + remainder
        assert np.isnan(parts[50]) and np.allclose(np.delete(parts - values, 50), 0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([9, 10, 11, 10, 0, 9, 10, 11], "smooth"),
        ([1, 1, 1, 30, 1, 1, 1, 1], "erratic"),
        ([0, 0, 5, 0, 5, 0, 0, 6], "intermittent"),
        ([0, 0, 1, 0, 0, 0, 40, 0, 1], "lumpy"),
        ([5, np.nan, np.nan, 5, np.nan], "smooth"),  # missing is not zero
        ([7], "smooth"),
        ([0, 0], "no demand"),
        ([np.nan], "no demand"),
        ([], "no demand"),
        ([-1, 1], "erratic"),  # the mean is 0
        ([1e200, 1.1e200, 1e200], "smooth"),
    ],
)
def test_demand_has_the_classes_of_syntetos_and_boylan(values: list[float], kind: str) -> None:
    assert profiles.intermittency(np.array(values, float)) == kind


def test_missing_steps_are_counted_on_the_calendar() -> None:
    calendar, histories = profiles.regular(frame(seasonal()), "MS")
    assert len(calendar) == 120
    facts = profiles.facts(histories)
    assert facts["missing"].to_dict() == {NAME: 4, "noise": 0, "season": 0, "trend": 0}
    assert facts.loc[NAME, "longest_gap"] == 4
    counts = tables.coverage(histories, calendar)
    assert set(counts["begun"]) == {4} and (counts["seen"] == 3).sum() == 4


def test_months_have_their_names_wherever_a_series_begins() -> None:
    table = frame({"a": 50 + 20 * (STEPS % 12 == 6) + noise(1) / 9})
    late = table[table["timestamp"] >= "2012-05-01"]
    calendar, histories = profiles.regular(late, "MS")
    place, names = tables.places(calendar, 12)
    _, patterns = tables.profiled(histories, 12, place, 9)
    assert names[int(patterns[0].argmax())] == "Jul"
    assert patterns[0].max() == pytest.approx((20 - 20 / 12) / late["value"].mean(), abs=0.02)


def test_correlations_are_those_within_each_series() -> None:
    table = frame({"down": 9 + noise(1), "level": np.full(120, 3), "up": 9 + noise(2)})
    up = table["series_id"] == "up"
    table["price"] = table["value"].where(up, 1000 - table["value"])
    found = tables.correlations(table, "price")
    assert found["up"] == pytest.approx(1) and found["down"] == pytest.approx(-1)
    assert np.isnan(found["level"])


def test_series_are_drawn_evenly_and_no_more_than_the_limit() -> None:
    assert profiles.evenly(list("abcdefg"), 3) == ["a", "d", "g"]
    assert profiles.evenly(["a", "b"], 9) == ["a", "b"]


def test_the_page_is_whole_and_needs_nothing_beside_it(folder: Path) -> None:
    text = render(frame(seasonal()), "MS", 12, "price")
    nesting = Nesting()
    nesting.feed(text)
    assert nesting.wrong == nesting.open == []
    assert set(re.findall(r'src="(.{10})', text)) == {"data:image"} and "http" not in text
    assert "<b>$x" not in text and "shop &lt;b&gt;$x^&amp;_" in text


def test_each_section_says_what_to_look_for_and_shows_it(folder: Path) -> None:
    parts = sections(render(frame(seasonal()), "MS", 12, "price"))
    titles = ["Lengths and starts", "Gaps", "Sizes", "Classes of demand"]
    titles += ["Strength of trend and season", "Mean season", "Sample of series"]
    assert list(parts) == [*titles, "Covariates", "Findings of validation"]
    assert all(re.match("<p>[A-Z].{60,}", part) for part in parts.values())
    assert [parts[title].count("<img") for title in titles] == [1, 1, 1, 1, 1, 1, 3]
    assert "<td>4</td><td>4</td><td>3.3%</td>" in parts["Gaps"]
    assert "<td>smooth</td><td>4</td><td>100.0%</td>" in parts["Classes of demand"]
    assert "<h3>3. season: trend " in parts["Sample of series"]  # the strongest season is last
    assert parts["Covariates"].count("<img") == 1 and "<td>price</td>" in parts["Covariates"]
    found = parts["Findings of validation"]
    assert found.count("&lt;i&gt;") == 3 and "2 more are not shown." in found
    assert "2020-01-01, …" in found and "<h3>too short: 0</h3><p>None.</p>" in found


def test_two_runs_give_the_same_bytes(folder: Path) -> None:
    first = render(frame(seasonal()), "MS", 12, "price")
    assert render(frame(seasonal()), "MS", 12, "price") == first


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("series", "frequency", "season_length"),
    [
        ({"one": [3.0]}, "D", 7),
        ({"short": [3.0, 4.0, np.nan, 5.0]}, "h", 24),
        ({"zeros": np.zeros(60), "level": np.full(60, 2)}, "W-SUN", 52),
        ({"a": STEPS[:30], "b": -STEPS[:9]}, "YS", 1),
        ({"a": 1e9 + noise(1), "b": 1e-9 * noise(2)}, "15min", 96),
    ],
    ids=["one value", "short", "constant", "no season", "large and small"],
)
def test_poor_data_have_a_page_too(
    folder: Path, series: dict[str, Any], frequency: str, season_length: int
) -> None:
    parts = sections(render(frame(series, frequency), frequency, season_length))
    assert len(parts) == 8 and "Covariates" not in parts
    assert parts["Sample of series"].count("<img") == len(series)
