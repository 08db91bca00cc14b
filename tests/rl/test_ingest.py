"""The sample and files of any regular step; what cannot be read says where and why."""

from pathlib import Path
from typing import Any

import ingest
import numpy as np
import pandas as pd
import pytest
import sources
import yaml

from rl import markets, stages
from shared import params

CARD = Path(__file__).parents[2] / "blueprints/rl/sample"


def config(source: Path | str, **changes: Any) -> ingest.IngestParams:
    values = {"source": str(source), "point": "HB_NORTH", "signals": (), "timezone": "UTC"}
    return ingest.IngestParams(**(values | {"limit": None} | changes))


def file(folder: Path, text: str, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_sample_has_every_hour_of_two_years_through_four_changes_of_clocks() -> None:
    table = sources.read_sample(CARD, "HB_NORTH").sort_values("timestamp")
    assert len(table) == 17_520 and (table["problem"] == "").all()
    assert (table["timestamp"].diff().dropna() == pd.Timedelta(hours=1)).all()
    assert table["price"].max() == pytest.approx(8999, abs=1) and table["price"].median() > 20


def test_an_unknown_point_names_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match=r"ingest.point: HB_NONE is none of HB_BUSAVG, .*LZ_WEST"):
        sources.read_sample(CARD, "HB_NONE")


def test_a_workbook_that_is_another_is_refused(tmp_path: Path) -> None:
    card = yaml.safe_load(CARD.read_text())
    card["files"] = dict.fromkeys(card["files"], "0" * 64)
    with pytest.raises(SystemExit, match=r"2021.xlsx is not the file that ./sample names"):
        sources.read_sample(file(tmp_path, yaml.safe_dump(card), "sample"), "HB_NORTH")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("freq", "hours"), [("5min", 1 / 12), ("30min", 0.5), ("h", 1), ("6h", 6)])
def test_any_regular_step_is_found(tmp_path: Path, suffix: str, freq: str, hours: float) -> None:
    times = pd.date_range("2024-01-01", periods=500, freq=freq, tz="Europe/Berlin")
    table = pd.DataFrame({"timestamp": times, "price": markets.prices(21)[:500]})
    path = tmp_path / f"prices{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    found = ingest.read_source(config(path))
    assert (found["problem"] == "").all()
    assert found["price"].tolist() == pytest.approx(table["price"].tolist(), rel=1e-12)
    assert found["timestamp"].iloc[0] == pd.Timestamp("2023-12-31 23:00")
    assert ingest.step_hours(found["timestamp"]) == pytest.approx(hours)


@pytest.mark.parametrize("freq", ["D", "7min", "1min", "5h"])
def test_a_step_that_the_policy_cannot_live_with_is_refused(freq: str) -> None:
    times = pd.Series(pd.date_range("2024-01-01", periods=50, freq=freq))
    with pytest.raises(SystemExit, match=r"hours apart; the policy needs steps of 5 minutes"):
        ingest.step_hours(times)


@pytest.mark.parametrize("zone", ["America/Chicago", "Europe/Berlin"])
def test_local_times_go_through_both_changes_of_clocks(tmp_path: Path, zone: str) -> None:
    times = pd.date_range("2024-03-01", "2024-11-30", freq="h", tz=zone)
    table = pd.DataFrame({"timestamp": times.tz_localize(None), "price": 1.0})
    table.to_csv(tmp_path / "prices.csv", index=False)
    found = ingest.read_source(config(tmp_path / "prices.csv", timezone=zone))
    assert (found["problem"] == "").all()
    assert found["timestamp"].tolist() == times.tz_convert("UTC").tz_localize(None).tolist()


def test_an_hour_that_no_clock_showed_is_told(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,price\n2024-03-31 01:00,1\n2024-03-31 02:30,2\n")
    found = ingest.read_source(config(path, timezone="Europe/Berlin"))
    assert found["problem"].tolist() == ["", "timestamp: not one moment in Europe/Berlin"]


def test_every_kind_of_broken_row_has_its_reason(tmp_path: Path) -> None:
    rows = ["2024-01-01 00:00,1.5", "2024-01-01 01:00,n/a", "2024-01-01 02:00,inf", "yesterday,2"]
    rows += [",3", "2024-01-01 05:00,", "2024-01-01 06:00,1e3", "2024-13-01 00:00,1"]
    found = ingest.read_source(config(file(tmp_path, "\n".join(["timestamp,price", *rows]))))
    reasons = dict(zip(found["price"].fillna(-1), found["problem"], strict=True))
    assert (found["problem"] == "").sum() == 2 and reasons[1000.0] == ""
    assert found["problem"].str.startswith("timestamp: is no date").sum() == 3
    assert found["problem"].isin(["price: is no number", "price: is missing"]).sum() == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a UTF-8 CSV"),
        ("timestamp,price\n", "has no row"),
        ("time,price\n1,2\n", r"missing columns \['timestamp'\], unknown columns \['time'\]"),
        ("timestamp,price,load\n2024-01-01 00:00,1,2\n", r"unknown columns \['load'\].*signals"),
        ("timestamp,price\n2024-01-01 00:00Z,1\n2024-01-01 01:00,2\n", "some have an offset"),
        ("timestamp,price\nx,1\n", "no row is readable: timestamp: is no date"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SystemExit, match=reason):
        ingest.read_source(config(file(tmp_path, text)))


@pytest.mark.parametrize("name", ["prices.csv", "prices.parquet"])
def test_a_file_of_another_kind_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(256)) * 20)
    with pytest.raises(SystemExit, match=r"not a (UTF-8 CSV|Parquet file)"):
        ingest.read_source(config(tmp_path / name))


def test_signals_are_read_beside_the_price(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,price,load\n2024-01-01 00:00,1,7\n2024-01-01 01:00,2,\n")
    found = ingest.read_source(config(path, signals=("load",)))
    assert found["load"].tolist()[0] == 7 and found["problem"].tolist()[1] == "load: is missing"


def test_a_source_that_is_nothing_is_told() -> None:
    with pytest.raises(SystemExit, match=r"ingest.source: nowhere.csv is neither"):
        ingest.read_source(config("nowhere.csv"))
    with pytest.raises(SystemExit, match=r"ingest.signals: the sample has none"):
        ingest.read_source(config("sample", signals=("load",)))


@pytest.mark.parametrize("change", [{"timezone": "Mars/Base"}, {"signals": ("price",)}])
def test_wrong_parameters_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        config("sample", **change)


def test_one_moment_has_no_step() -> None:
    with pytest.raises(SystemExit, match="fewer than two moments"):
        ingest.step_hours(pd.Series(pd.to_datetime(["2024-01-01", "2024-01-01"])))
    assert np.isclose(ingest.SHORTEST * 12, 1)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("freq", ["h", "30min", "15min"])
def test_of_an_hour_that_clocks_show_twice_the_first_comes_first(
    tmp_path: Path, suffix: str, freq: str
) -> None:
    times = pd.date_range("2024-10-26", "2024-10-29", freq=freq, tz="Europe/Berlin")
    table = pd.DataFrame({"timestamp": times.tz_localize(None), "price": np.arange(len(times))})
    path = tmp_path / f"prices{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    found = ingest.read_source(config(path, timezone="Europe/Berlin"))
    assert (found["problem"] == "").all() and found["price"].tolist() == list(range(len(times)))
    assert found["timestamp"].tolist() == times.tz_convert("UTC").tz_localize(None).tolist()


@pytest.mark.parametrize("zone", ["America/Chicago", "Europe/Berlin"])
def test_offsets_that_change_in_a_file_are_followed_whatever_the_zone(
    tmp_path: Path, zone: str
) -> None:
    times = pd.date_range("2024-03-01", "2024-11-30", freq="h", tz=zone)
    rows = [f"{moment.isoformat()},{i}" for i, moment in enumerate(times)]
    path = file(tmp_path, "\n".join(["timestamp,price", *rows[::-1]]))
    found = ingest.read_source(config(path, timezone="Asia/Tokyo"))
    assert found["price"].tolist() == list(range(len(times)))
    assert found["timestamp"].tolist() == times.tz_convert("UTC").tz_localize(None).tolist()


def test_local_times_are_those_of_the_zone_that_is_given(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,price\n2024-07-01 12:00,1\n2024-07-01 13:00,2\n")
    for zone, hour in (("UTC", 12), ("America/Chicago", 17), ("Europe/Berlin", 10)):
        found = ingest.read_source(config(path, timezone=zone))
        assert found["timestamp"][0] == pd.Timestamp(2024, 7, 1, hour)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_than_utf_8_is_told(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "prices.csv").write_text("timestamp,price\n2024-01-01,ü\n", encoding=encoding)
    with pytest.raises(SystemExit, match="not a UTF-8 CSV") as stopped:
        ingest.read_source(config(tmp_path / "prices.csv"))
    assert "\n" not in str(stopped.value)


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    text = "price,timestamp\r\n1,2024-01-01 00:00\r\n-2.5,2024-01-01 01:00\r\n"
    (tmp_path / "prices.csv").write_text(text, encoding="utf-8-sig", newline="")
    found = ingest.read_source(config(tmp_path / "prices.csv"))
    assert found["price"].tolist() == [1, -2.5] and (found["problem"] == "").all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("timestamp;price\n2024-01-01 00:00;1\n", "missing columns"),
        ("timestamp,price,price\n2024-01-01 00:00,1,2\n", r"unknown columns \['price.1'\]"),
        ("timestamp,price\n2024-01-01 00:00,1\n2024-01-01 01:00,1,2\n", "not a UTF-8 CSV"),
        ("timestamp,price\n2024-01-01 00:00,\n", "no row is readable: price: is missing"),
    ],
)
def test_a_table_of_another_form_is_told(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SystemExit, match=reason):
        ingest.read_source(config(file(tmp_path, text)))


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("n/a?", "price: is no number"),
        ("1 000", "price: is no number"),
        ("inf", "price: is no number"),
        ("-Infinity", "price: is no number"),
        ("NaN", "price: is missing"),
        ("  ", "price: is missing"),
        ("-1e-3", ""),
    ],
)
def test_a_cell_is_a_number_or_has_a_problem(tmp_path: Path, cell: str, problem: str) -> None:
    path = file(tmp_path, f"timestamp,price\n2024-01-01 00:00,1\n2024-01-01 01:00,{cell}\n")
    found = ingest.read_source(config(path))
    assert found["problem"].tolist() == ["", problem]
    assert found["price"].isna().tolist() == [False, problem != ""]


@pytest.mark.parametrize("cell", ["", "now", "1704067200", "2024-02-30 00:00", "01/02/2024 00:00"])
def test_a_cell_is_a_date_or_has_a_problem(tmp_path: Path, cell: str) -> None:
    path = file(tmp_path, f"timestamp,price\n{cell},5\n2024-01-01 01:00,1\n")
    found = ingest.read_source(config(path))
    assert found["problem"].tolist() == ["", "timestamp: is no date"]
    assert found["price"].tolist() == [1, 5], "rows without a time come last"


def test_missing_cells_of_a_parquet_have_their_problem(tmp_path: Path) -> None:
    times = pd.to_datetime(["2024-01-01 00:00", None, "2024-01-01 02:00", "2024-01-01 03:00"])
    table = pd.DataFrame({"timestamp": times, "price": pd.array([1, 2, None, 4], dtype="Int64")})
    table.to_parquet(tmp_path / "prices.parquet")
    found = ingest.read_source(config(tmp_path / "prices.parquet"))
    wanted = ["", "price: is missing", "", "timestamp: is no date"]
    assert found["problem"].tolist() == wanted
    assert [str(kind) for kind in found.dtypes] == ["datetime64[ns]", "float64", "object"]


def test_rows_given_twice_are_left_to_validation(tmp_path: Path) -> None:
    rows = ["2024-01-01 01:00,3", "2024-01-01 00:00,1", "2024-01-01 00:00,1", "2024-01-01 00:00,2"]
    found = ingest.read_source(config(file(tmp_path, "\n".join(["timestamp,price", *rows]))))
    assert found["price"].tolist() == [1, 1, 2, 3] and (found["problem"] == "").all()


def test_the_commonest_distance_is_the_step() -> None:
    times = pd.Series(pd.date_range("2024-01-01", periods=200, freq="30min"))
    holes = pd.concat([times.drop(index=range(20, 90, 2)), times[:5]]).sort_values()
    assert ingest.step_hours(holes) == 0.5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_writes_the_sample_and_what_it_is(folder: Path) -> None:
    (folder / "sample").write_bytes(CARD.read_bytes())
    stages.parameters(folder, ingest={"source": "sample", "timezone": "America/Chicago"})
    stages.run("ingest")
    table, meta = pd.read_parquet("data/raw/prices.parquet"), params.read_json("data/raw/meta.json")
    assert list(table) == ["timestamp", "price", "problem"] and len(table) == 17_520
    assert table["timestamp"].iloc[0] == pd.Timestamp("2021-01-01 06:00"), "midnight in Texas"
    wanted = {"env": "battery", "source": "sample", "point": "HB_NORTH", "signals": []}
    assert meta == wanted | {"timezone": "America/Chicago", "day": 24}


def test_the_stage_keeps_the_newest_rows_and_no_folder_of_the_machine(folder: Path) -> None:
    (folder / "private").mkdir()
    table = stages.history(folder / "private")
    given = {"source": "private/prices.csv", "signals": ["load"], "limit": 100}
    stages.parameters(folder, ingest=given)
    stages.run("ingest")
    found, meta = pd.read_parquet("data/raw/prices.parquet"), params.read_json("data/raw/meta.json")
    assert found["price"].tolist() == table["price"].tolist()[-100:]
    assert list(found) == ["timestamp", "price", "load", "problem"]
    assert (meta["source"], meta["point"], meta["signals"]) == ("prices.csv", None, ["load"])


def test_an_environment_without_prices_reads_none(folder: Path) -> None:
    stages.parameters(folder, env={"id": "CartPole-v1"}, ingest={"source": "nowhere.csv"})
    stages.run("ingest")
    assert params.read_json("data/raw/meta.json") == {"env": "CartPole-v1"}
    assert [path.name for path in Path("data/raw").iterdir()] == ["meta.json"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"timezone": "Mars/Base"}, "ingest.timezone: Value error, unknown time zone"),
        ({"signals": ["price"]}, "ingest.signals: Value error, a name is given twice"),
        ({"signals": ["load", "load"]}, "ingest.signals: Value error, a name is given twice"),
        ({"limit": 0}, "ingest.limit: Input should be greater than 0"),
        ({"points": "HB_WEST"}, "ingest.points: unknown key"),
    ],
)
def test_a_mistake_in_the_parameters_is_named(
    folder: Path, change: dict[str, Any], line: str
) -> None:
    stages.parameters(folder, ingest=change)
    with pytest.raises(SystemExit, match=f"params.yaml: {line}"):
        stages.run("ingest")


@pytest.mark.parametrize("freq", ["h", "30min"])
def test_local_rows_may_stand_newest_first(tmp_path: Path, freq: str) -> None:
    times = pd.date_range("2024-10-20", "2024-10-30", freq=freq, tz="Europe/Berlin")[::-1]
    prices = np.arange(len(times), dtype=float)
    table = pd.DataFrame({"timestamp": times.tz_localize(None), "price": prices})
    table.to_csv(tmp_path / "prices.csv", index=False)
    found = ingest.read_source(config(tmp_path / "prices.csv", timezone="Europe/Berlin"))
    assert (found["problem"] == "").all()
    assert found["timestamp"].tolist() == times[::-1].tz_convert("UTC").tz_localize(None).tolist()
    assert found["price"].tolist() == prices[::-1].tolist()


def test_an_hour_shown_once_where_clocks_go_back_is_no_moment(tmp_path: Path) -> None:
    times = pd.date_range("2024-10-26", "2024-10-29", freq="h")
    pd.DataFrame({"timestamp": times, "price": 1.0}).to_csv(tmp_path / "prices.csv", index=False)
    found = ingest.read_source(config(tmp_path / "prices.csv", timezone="Europe/Berlin"))
    assert found["problem"].tolist().count("timestamp: not one moment in Europe/Berlin") == 1


def test_the_newest_rows_are_those_with_a_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stages.history(tmp_path, 30)
    with (tmp_path / "prices.csv").open("a") as rows:
        rows.write("x,1,1\ny,2,2\n")
    stages.parameters(tmp_path, ingest={"limit": 30, "signals": ["load"]})
    stages.run("ingest")
    assert (pd.read_parquet("data/raw/prices.parquet")["problem"] == "").sum() == 30


@pytest.mark.parametrize("name", ["hour", "weekend", "split", "local"])
def test_a_signal_with_a_name_of_ours_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="signals"):
        config("sample", signals=(name,))
