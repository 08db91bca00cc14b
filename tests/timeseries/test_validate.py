"""Series that must not be learnt from: gaps, duplicates, jumps, covariates that hold the future."""

import time
import warnings
from pathlib import Path
from typing import Any

import frequency as frequencies
import leakage
import numpy as np
import pandas as pd
import pytest
import validate
import yaml
from pydantic import ValidationError

from shared import params

LIMITS: dict[str, Any] = {
    "max_problem_share": 0.01,
    "max_gap_share": 0.2,
    "max_left_out": 0.1,
    "min_seasons": 3,
    "allow_negative": False,
    "outlier_score": 8,
    "max_covariate_leakage": 0.98,
    "listed": 50,
}
CHECKS = ["unreadable", "exact_duplicates", "duplicate_times", "irregular", "too_short", "gaps"]
CHECKS += ["negative", "constant", "all_zero", "outliers", "covariate_missing"]
CHECKS += ["covariate_leakage"]
HORIZON = 12


def demand(name: str, points: int = 120, frequency: str = "MS", season: int = 12) -> pd.DataFrame:
    """A level, a trend, a season and noise, different for each name."""
    random = np.random.default_rng(int.from_bytes(name.encode()) % 2**32)
    step = np.arange(points)
    wave = 1 + 0.4 * np.sin(2 * np.pi * step / season) + 0.005 * step
    value = 100 * random.uniform(0.1, 9) * wave * np.exp(0.08 * random.standard_normal(points))
    times = pd.date_range("2012-01-01", periods=points, freq=frequency)
    return pd.DataFrame({"series_id": name, "timestamp": times, "value": value, "problem": ""})


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.concat([demand(f"s{i:02d}") for i in range(20)], ignore_index=True)


def examine(
    table: pd.DataFrame, frequency: str = "MS", horizon: int = HORIZON, **limits: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    known = ["series_id", "timestamp", "value", "problem"]
    season = frequencies.season_length(frequency)
    meta = {"frequency": frequency, "season_length": season}
    meta["covariates"] = [name for name in table if name not in known]
    config = validate.ValidateParams(**(LIMITS | limits))
    table = table.sort_values(["series_id", "timestamp"], kind="stable", ignore_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return validate.examine(table, config, meta, horizon)


def stops(table: pd.DataFrame, **limits: Any) -> str:
    return "; ".join(examine(table, **limits)[0]["stops"])


def only(report: dict[str, Any], check: str) -> dict[str, Any]:
    """The one finding of a check, when the others found nothing."""
    others = {name: n for name, n in report["checks"].items() if n and name != check}
    assert others == {} and report["checks"][check] == 1, report["checks"]
    found: dict[str, Any] = report["findings"][check][0]
    return found


def test_good_data_pass_unchanged(table: pd.DataFrame) -> None:
    report, usable = examine(table)
    assert report["stops"] == [] and list(report["checks"]) == list(report["findings"]) == CHECKS
    assert sum(report["checks"].values()) == 0
    pd.testing.assert_frame_equal(usable, table.drop(columns="problem"))
    sizes = {key: report[key] for key in ("rows", "usable_rows", "series", "usable_series")}
    assert sizes == {"rows": 2400, "usable_rows": 2400, "series": 20, "usable_series": 20}
    assert report["problem_share"] == report["gap_share"] == report["left_out_share"] == 0


def test_unreadable_rows_are_dropped_listed_and_counted(table: pd.DataFrame) -> None:
    table.loc[3, ["value", "problem"]] = np.nan, "value: not a finite number: x"
    table.loc[4, "problem"] = "timestamp: is missing"
    table.loc[4, "timestamp"] = pd.NaT
    report, usable = examine(table)
    found = report["findings"]["unreadable"]
    assert found == [
        {
            "series_id": "s00",
            "timestamps": ["2012-04-01T00:00:00"],
            "count": 2,
            "detail": "value: not a finite number: x",
        }
    ]
    assert len(usable) == 2398 and report["problem_share"] == 2 / 2400 and report["stops"] == []
    assert "problem_share 0.001 above validate.max_problem_share; see reports/validation" in stops(
        table, max_problem_share=0.0005
    )


def test_what_ingest_would_not_have_written_is_unreadable_too(table: pd.DataFrame) -> None:
    table.loc[0, "value"], table.loc[1, "timestamp"] = np.inf, pd.NaT
    table.loc[2, "series_id"] = ""
    table = table.assign(price=1.5)
    table.loc[5, "price"] = -np.inf
    report, usable = examine(table)
    details = {found["series_id"]: found["detail"] for found in report["findings"]["unreadable"]}
    assert details == {"": "series_id: is missing", "s00": "value: is not finite"}
    assert len(usable) == 2396 and report["series"] == 20
    for wrong in (table.drop(columns="value"), table.assign(value="x")):
        with pytest.raises(SystemExit, match=r"validate: column .*value"):
            examine(wrong)


def test_exact_copies_are_one_row_and_no_problem(table: pd.DataFrame) -> None:
    report, usable = examine(pd.concat([table, table[:120], table[:1]]))
    found = only(report, "exact_duplicates")
    assert found["count"] == 121 and len(usable) == 2400 and report["problem_share"] == 0


def test_of_two_values_at_one_time_the_first_is_kept(table: pd.DataFrame) -> None:
    again = table.loc[[7]].assign(value=1.0)
    report, usable = examine(pd.concat([table, again, table.loc[[7]]]))
    assert report["checks"]["exact_duplicates"] == report["checks"]["duplicate_times"] == 1
    found = report["findings"]["duplicate_times"][0]
    assert found["timestamps"] == ["2012-08-01T00:00:00"] and found["count"] == 1
    assert usable["value"].tolist() == table["value"].tolist()
    assert report["problem_share"] == 1 / 2402


def test_times_off_the_grid_are_dropped_and_counted(table: pd.DataFrame) -> None:
    odd = table.loc[[7]].assign(timestamp=pd.Timestamp("2012-08-11"))
    late = table.loc[[9]].assign(timestamp=pd.Timestamp("2012-10-01T06:00"))
    report, usable = examine(pd.concat([table, odd, late]))
    found = only(report, "irregular")
    assert found["timestamps"] == ["2012-08-11T00:00:00", "2012-10-01T06:00:00"]
    assert found["detail"] == "not on the grid of MS: dropped" and len(usable) == 2400
    assert report["problem_share"] == 2 / 2402


def test_a_wrong_frequency_leaves_nothing_and_stops(table: pd.DataFrame) -> None:
    told = stops(table, frequency="ME")
    assert "no usable series is left" in told and "problem_share 1.000" in told
    assert "left_out_share 1.000 above validate.max_left_out" in told


def test_gaps_are_listed_with_the_first_missing_step(table: pd.DataFrame) -> None:
    report, usable = examine(table.drop(index=[10, 11, 50]))
    assert only(report, "gaps") == {
        "series_id": "s00",
        "timestamps": ["2012-11-01T00:00:00", "2016-03-01T00:00:00"],
        "count": 3,
        "detail": "3 of 120 steps missing",
    }
    assert report["gap_share"] == 3 / 2400 and len(usable) == 2397


def test_a_series_with_too_many_gaps_is_left_out(table: pd.DataFrame) -> None:
    report, usable = examine(table.drop(index=range(1, 60, 2)))
    found = only(report, "gaps")
    assert found["detail"] == "30 of 120 steps missing: left out" and found["count"] == 30
    assert usable["series_id"].nunique() == 19 and report["left_out_share"] == pytest.approx(0.05)
    assert "left_out_share 0.050 above validate.max_left_out" in stops(
        table.drop(index=range(1, 60, 2)), max_left_out=0.04
    )


def test_a_short_series_is_left_out_with_what_it_needs(table: pd.DataFrame) -> None:
    table = pd.concat([table, demand("new", 47), demand("enough", 48)])
    report, usable = examine(table)
    assert only(report, "too_short") == {
        "series_id": "new",
        "timestamps": ["2012-01-01T00:00:00"],
        "count": 47,
        "detail": "47 points, 48 are needed: left out",
    }
    assert "enough" in set(usable["series_id"]) and "new" not in set(usable["series_id"])


def test_a_series_without_a_readable_row_is_left_out_too(table: pd.DataFrame) -> None:
    lost = demand("lost", 1).assign(timestamp=pd.NaT, problem="timestamp: is missing")
    report, _ = examine(pd.concat([table, lost]))
    found = report["findings"]["too_short"][0]
    assert found["series_id"] == "lost" and found["timestamps"] == [] and found["count"] == 0
    assert report["series"] == 21 and report["usable_series"] == 20


def test_ten_points_are_needed_where_there_is_no_season() -> None:
    years = [demand("a", 21, "YS-JAN", 5), demand("b", 22, "YS-JAN", 5)]
    report, _ = examine(pd.concat(years), frequency="YS-JAN", max_left_out=1)
    assert [found["detail"][:9] for found in report["findings"]["too_short"]] == ["21 points"]


def test_negative_values_leave_a_series_out_unless_allowed(table: pd.DataFrame) -> None:
    table.loc[[30, 40], "value"] = -1.0
    report, usable = examine(table)
    found = report["findings"]["negative"][0]
    assert found["timestamps"] == ["2014-07-01T00:00:00", "2015-05-01T00:00:00"]
    assert "s00" not in set(usable["series_id"]) and report["stops"] == []
    report, usable = examine(table, allow_negative=True)
    assert report["checks"]["negative"] == 0 and usable["series_id"].nunique() == 20


def test_constant_and_zero_series_are_listed_and_stay(table: pd.DataFrame) -> None:
    table.loc[:119, "value"], table.loc[120:239, "value"] = 5.0, 0.0
    report, usable = examine(table)
    constant, zero = (report["findings"][name][0] for name in ("constant", "all_zero"))
    assert (constant["series_id"], constant["detail"]) == ("s00", "always 5")
    assert (zero["series_id"], zero["count"]) == ("s01", 120)
    assert len(usable) == 2400 and report["checks"]["outliers"] == 0


@pytest.mark.parametrize("factor", [0.0, 0.05, 20.0])
@pytest.mark.parametrize("step", [0, 60, 119])
def test_a_jump_is_an_outlier_wherever_it_is(table: pd.DataFrame, factor: float, step: int) -> None:
    table.loc[step, "value"] *= factor
    found = only(examine(table)[0], "outliers")
    assert found["timestamps"] == [table["timestamp"][step].isoformat()] and found["count"] == 1
    assert f"{table['value'][step]:.6g}, near" in found["detail"]


def test_a_season_a_trend_and_rare_demand_are_no_outliers() -> None:
    random, step = np.random.default_rng(0), np.arange(120)
    shapes = {
        "peaks": np.where(step % 12 == 11, 900.0, 100.0) * np.exp(0.05 * random.normal(size=120)),
        "growth": np.exp(step / 20) * np.exp(0.02 * random.normal(size=120)),
        "straight": 100.0 + step,
        "repeated": 50 + 10 * np.sin(2 * np.pi * step / 12),
        "rare": random.poisson(2, 120) * (random.random(120) < 0.25),
    }
    tables = [demand(name).assign(value=values.astype(float)) for name, values in shapes.items()]
    assert examine(pd.concat(tables))[0]["checks"]["outliers"] == 0


def test_one_sale_in_a_constant_series_is_an_outlier() -> None:
    table = demand("a").assign(value=5.0)
    table.loc[50, "value"] = 500.0
    assert examine(table)[0]["checks"]["outliers"] == 1


def test_missing_covariates_are_listed_and_their_rows_stay(table: pd.DataFrame) -> None:
    table["price"] = np.random.default_rng(0).random(len(table))
    table.loc[[5, 6], "price"] = np.nan
    report, usable = examine(table)
    found = only(report, "covariate_missing")
    assert found["count"] == 2 and len(usable) == 2400
    assert found["detail"] == "price is missing: the one before is taken"


def test_zeros_for_missing_rows_say_which_covariates_they_have(table: pd.DataFrame) -> None:
    meta = {"frequency": "MS", "season_length": 12, "covariates": ["price"], "gaps": "zero"}
    table, config = table.assign(price=1.0).drop(index=[10]), validate.ValidateParams(**LIMITS)
    said = only(validate.examine(table, config, meta, HORIZON)[0], "gaps")["detail"]
    assert said == "1 of 120 steps missing: zeros, with the covariates before them"
    meta["covariates"] = []
    plain = validate.examine(table.drop(columns="price"), config, meta, HORIZON)[0]
    assert only(plain, "gaps")["detail"] == "1 of 120 steps missing"


def shifted(table: pd.DataFrame, steps: int) -> pd.Series:
    return table.groupby("series_id")["value"].shift(steps)


@pytest.mark.parametrize(
    ("steps", "when"),
    [(0, "of its step"), (-1, "1 steps later"), (-12, "12 steps later"), (1, "1 steps earlier")],
)
def test_a_covariate_that_is_the_value_of_another_time_is_refused(
    table: pd.DataFrame, steps: int, when: str
) -> None:
    table["stock"] = 5000 - 2 * shifted(table, steps)
    report, _ = examine(table)
    assert report["checks"]["covariate_leakage"] == 20
    stop = f"above validate.max_covariate_leakage: stock (1.000 with the value {when})"
    assert report["stops"] == [f"{stop}; see reports/validation.json"]


def test_covariates_that_only_help_are_not_refused(table: pd.DataFrame) -> None:
    random = np.random.default_rng(0)
    step = table.groupby("series_id").cumcount()
    table["month"] = step % 12.0
    table["wave"] = np.sin(2 * np.pi * step / 12)
    table["trend"] = step * 0.1
    table["fixed"] = 1.0
    table["old"] = shifted(table, HORIZON).bfill()
    table["price"] = -table["value"] * random.lognormal(0, 0.1, len(table))
    holiday = random.random(len(table)) < 0.02
    table["holiday"] = holiday.astype(float)
    table.loc[holiday, "value"] *= 1.5
    report, _ = examine(table)
    assert report["stops"] == [] and report["checks"]["covariate_leakage"] == 0


def test_one_series_that_leaks_is_listed_and_does_not_stop(table: pd.DataFrame) -> None:
    table["price"] = np.random.default_rng(0).random(len(table))
    table.loc[:119, "price"] = table["value"][:120]
    report, _ = examine(table)
    found = only(report, "covariate_leakage")
    assert found["detail"] == "price: correlation 1.000 with the value of its step"
    assert report["stops"] == []


def test_a_leak_is_found_through_gaps_and_noise(table: pd.DataFrame) -> None:
    random = np.random.default_rng(0)
    table["hint"] = shifted(table, -3) * random.normal(1, 0.005, len(table))
    kept = table[random.random(len(table)) < 0.9]
    assert "hint" in stops(kept) and "3 steps later" in stops(kept)


def test_correlation_is_pearsons_over_what_both_have() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 30)), random.normal(size=(2, 30))
    x[0, :5], y[0, 3:9], x[1, 8:] = np.nan, np.nan, np.nan
    found = leakage.correlation(x, y)
    assert found[0] == pytest.approx(np.corrcoef(x[0, 9:], y[0, 9:])[0, 1])
    assert np.isnan(found[1]), "eight pairs are too few"


@pytest.mark.parametrize(
    ("frequency", "points"),
    [("D", 90), ("W-SUN", 220), ("15min", 900), ("B", 80), ("QS-OCT", 60), ("YE-DEC", 40)],
)
def test_every_frequency_is_validated(frequency: str, points: int) -> None:
    season = frequencies.season_length(frequency)
    table = pd.concat([demand(f"s{i}", points, frequency, season) for i in range(10)])
    table = table.reset_index(drop=True).drop(index=[20, 21])
    report, usable = examine(table, frequency=frequency)
    assert only(report, "gaps")["count"] == 2 and len(usable) == 10 * points - 2


def test_series_with_other_minutes_past_the_hour_are_each_on_their_grid() -> None:
    tables = [demand(f"s{i}", 120, "h", 24) for i in range(6)]
    for minutes, table in enumerate(tables):
        table["timestamp"] += pd.Timedelta(minutes=7 * minutes)
    assert sum(examine(pd.concat(tables), frequency="h")[0]["checks"].values()) == 0


def test_no_row_at_all_is_reported_and_stops(table: pd.DataFrame, tmp_path: Path) -> None:
    lost = table.assign(value=np.nan, problem="value: is missing", price=np.nan)
    report, usable = examine(lost)
    assert len(usable) == 0 and report["stops"][0].startswith("no usable series is left")
    params.write_json(tmp_path / "report.json", report)
    assert examine(table[:0])[0]["stops"]


def test_the_report_lists_the_worst_first_and_no_more_than_asked(table: pd.DataFrame) -> None:
    kept = table.drop(index=[*range(5, 9), *range(125, 131), 245])
    report, _ = examine(kept, listed=2)
    assert report["checks"]["gaps"] == 3
    assert [found["count"] for found in report["findings"]["gaps"]] == [6, 4]
    assert examine(kept, listed=0)[0]["findings"]["gaps"] == []


def test_the_stage_writes_its_files_also_when_it_stops(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "stage", params.read)
    meta = {"frequency": "MS", "season_length": 12, "covariates": [], "source": "x.csv"}
    params.write_json("data/raw/meta.json", meta)
    table.to_parquet("data/raw/series.parquet", index=False)
    sections = {"validate": LIMITS, "prepare": {"horizon": HORIZON}}
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    validate.main()
    checked = pd.read_parquet("data/checked.parquet")
    pd.testing.assert_frame_equal(checked, table.drop(columns="problem"))
    for prepare in ({"horizon": 500}, {"horizon": HORIZON, "held_out": 500}):
        Path("params.yaml").write_text(yaml.safe_dump(sections | {"prepare": prepare}))
        with pytest.raises(SystemExit, match="validate: no usable series is left; see reports"):
            validate.main()
    assert params.read_json("reports/validation.json")["usable_series"] == 0
    assert len(pd.read_parquet("data/checked.parquet")) == 0
    for wrong in ({}, {"prepare": {"horizon": "x"}}, {"prepare": {"horizon": 0}}):
        Path("params.yaml").write_text(yaml.safe_dump({"validate": LIMITS} | wrong))
        with pytest.raises(SystemExit, match=r"prepare\.horizon: give a number of steps"):
            validate.main()


def test_thousands_of_series_are_validated_in_seconds() -> None:
    one = pd.concat([demand(f"s{i}") for i in range(50)])
    many = pd.concat([one.assign(series_id=f"{n}" + one["series_id"]) for n in range(100)])
    many["price"] = np.random.default_rng(0).random(len(many))
    many = many[np.random.default_rng(1).random(len(many)) > 0.02]
    begin = time.monotonic()
    report, usable = examine(many)
    assert report["usable_series"] == 5000 and len(usable) == len(many)
    assert time.monotonic() - begin < 20


def test_less_than_the_two_seasons_that_models_need_cannot_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="min_seasons"):
        validate.ValidateParams(**LIMITS | {"min_seasons": 1})
