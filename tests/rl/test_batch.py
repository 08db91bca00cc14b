"""A back-test of a file: safe in its holes, goes on after a stop, whole or not at all."""

import sys
from pathlib import Path
from typing import Any

import backtest
import batch
import battery as physics
import numpy as np
import pandas as pd
import pytest

from rl import markets, policies


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    env, market = policies.environment()
    folder = tmp_path_factory.mktemp("export")
    return folder, policies.exported(folder, env, market, policies.config())[0]


@pytest.fixture
def predictor(exported: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(batch, "EXPORT", exported[0])
    monkeypatch.setattr(batch, "CHUNK", 100)
    return exported[1]


def prices(folder: Path, days: int = 20) -> Path:
    """Hourly, four hours missing, a row that is no number."""
    times = pd.date_range("2024-03-01", periods=days * 24, freq="h", tz="UTC")
    values = markets.prices(days).round(3).astype(object)
    table = pd.DataFrame({"timestamp": times, "price": values})
    table.loc[table.index == 250, "price"] = "-"
    table[~table.index.isin(range(300, 304))].to_csv(folder / "prices.csv", index=False)
    return folder / "prices.csv"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["batch.py", *map(str, arguments)])
    batch.main()


def test_holes_are_met_safely_and_a_stop_costs_nothing(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, result = prices(tmp_path), tmp_path / "result.parquet"
    run(monkeypatch, result, source)
    whole = pd.read_parquet(result)
    assert len(whole) == 480 - 167 and whole["price"].isna().sum() == 5
    assert (whole["source"] == "safe").equals(whole["price"].isna())
    assert whole["charge_mwh"].between(0, 4).all() and not list(tmp_path.glob("*.parts"))

    calls, chunk = [], batch.chunk

    def stopped(*given: Any) -> pd.DataFrame:
        calls.append(given[2])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return chunk(*given)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "chunk", stopped)
        with pytest.raises(SystemExit, match="stopped; the same command goes on"):
            run(patch, result, source, "--charge", "1")
    assert pd.read_parquet(result).equals(whole), "the older result stays until the new is whole"
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(batch, "chunk", lambda *given: calls.append(given[2]) or chunk(*given))
        run(patch, result, source, "--charge", "1")
    assert calls == [367, 467], "two of four chunks were there"
    again = pd.read_parquet(result)
    assert len(again) == len(whole) and not again.equals(whole)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--charge", "5"], "charge: 5 is not from 0 to 4"), (["--charge", "-1"], "from 0 to 4")],
)
def test_a_charge_beyond_the_battery_is_refused(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, reason: str
) -> None:
    with pytest.raises(SystemExit, match=reason):
        run(monkeypatch, tmp_path / "a.parquet", prices(tmp_path), *arguments)


def test_less_than_a_week_is_refused(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = prices(tmp_path, 6)
    with pytest.raises(SystemExit, match=r"more than 168 \(a week\) are needed"):
        run(monkeypatch, tmp_path / "a.parquet", source)


@pytest.mark.parametrize("name", ["result.csv", "folder.parquet"])
def test_a_result_that_cannot_be_written_is_refused_at_once(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / name, prices(tmp_path))


def table(days: int = 20) -> pd.DataFrame:
    times = pd.date_range("2024-03-01", periods=days * 24, freq="h")
    values = markets.prices(days).round(3)
    return pd.DataFrame({"timestamp": times.strftime("%Y-%m-%dT%H:%M:%SZ"), "price": values})


def written(folder: Path, rows: pd.DataFrame, name: str = "rows.csv") -> Path:
    rows.to_csv(folder / name, index=False)
    return folder / name


def test_a_part_that_is_lost_is_made_again(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, result = prices(tmp_path), tmp_path / "result.parquet"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(batch.pa, "concat_tables", full)
        with pytest.raises(SystemExit, match=r"No space left .*the same command goes on"):
            run(patch, result, source)
    assert not result.exists(), "nothing half written"
    parts = sorted(tmp_path.glob("result.parquet.parts/*/*.parquet"))
    assert len(parts) == 4
    parts[-1].unlink()
    times = [part.stat().st_mtime_ns for part in parts[:-1]]
    with monkeypatch.context() as patch:
        patch.setattr(batch.pa, "concat_tables", full)
        with pytest.raises(SystemExit):
            run(patch, result, source)
    assert [part.stat().st_mtime_ns for part in parts[:-1]] == times and parts[-1].exists()
    run(monkeypatch, result, source)
    run(monkeypatch, tmp_path / "other.parquet", source)
    assert result.read_bytes() == (tmp_path / "other.parquet").read_bytes()
    assert not list(tmp_path.glob("*.parts"))


def test_another_question_does_not_use_old_parts(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = batch.prices(written(tmp_path, table()), predictor)
    dearer = rows.assign(price=rows["price"] + 1)
    later = rows.assign(timestamp=rows["timestamp"] + pd.Timedelta(hours=1))
    asked = [(rows, 0.0), (rows, 1.0), (dearer, 0.0), (later, 0.0), (rows[:-1], 0.0)]
    assert len({batch.mark(*question) for question in asked}) == 5
    assert batch.mark(rows.copy(), 0.0) == batch.mark(rows, 0.0)


@pytest.mark.parametrize("changes", [{}, {"ramp_mw": 0.3, "actions": None}], ids=str)
def test_parts_do_not_show_in_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    env, market = policies.environment(**changes)
    predictor, _ = policies.exported(tmp_path, env, market, policies.config())
    monkeypatch.setattr(batch, "EXPORT", tmp_path)
    rows = batch.prices(prices(tmp_path), predictor)
    for size in (7, 313, 5000):
        monkeypatch.setattr(batch, "CHUNK", size)
        batch.run(tmp_path / f"{size}.parquet", predictor, rows, 1.5)
    start = rows["timestamp"].iloc[0].tz_localize("UTC").to_pydatetime()
    once = list(backtest.run(predictor, rows["price"].to_numpy(), start, 1.5))
    for size in (7, 313, 5000):
        found = pd.read_parquet(tmp_path / f"{size}.parquet")
        assert list(found[list(backtest.COLUMNS)].itertuples(index=False, name=None)) == once
    power, charge = found["power_mw"].to_numpy(), np.array([1.5, *found["charge_mwh"]])
    assert physics.violations(predictor.battery, charge, power) == 0


def test_rows_out_of_order_twice_or_off_the_grid_change_nothing(
    predictor: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = table()
    off = rows.iloc[[30, 90]].assign(timestamp=["2024-03-03T04:17:00Z", "yesterday"])
    mess = pd.concat([rows, rows.iloc[[7, 8]], off]).sample(frac=1, random_state=0)
    run(monkeypatch, tmp_path / "clean.parquet", written(tmp_path, rows))
    run(monkeypatch, tmp_path / "mess.parquet", written(tmp_path, mess, "mess.csv"))
    clean, other = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("clean", "mess"))
    assert other.equals(clean)
    assert "batch: 4 rows are unreadable, repeated or off the grid" in capsys.readouterr().out


@pytest.mark.parametrize("usable", [0, 1])
def test_rows_of_which_none_is_usable_are_refused_and_the_old_result_stays(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usable: int
) -> None:
    rows, result = table().astype({"price": object}), tmp_path / "result.parquet"
    rows.loc[usable:, "price"] = "?"
    result.write_bytes(b"of last week")
    with pytest.raises(SystemExit, match="fewer than two rows are usable"):
        run(monkeypatch, result, written(tmp_path, rows))
    assert result.read_bytes() == b"of last week"


def test_the_result_may_lie_in_a_new_folder_and_prices_in_a_parquet(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table().assign(timestamp=lambda given: pd.to_datetime(given["timestamp"]))
    rows.to_parquet(tmp_path / "rows.parquet")
    run(monkeypatch, tmp_path / "new/deep/a.parquet", tmp_path / "rows.parquet")
    run(monkeypatch, tmp_path / "b.parquet", written(tmp_path, table()))
    one, other = (pd.read_parquet(tmp_path / name) for name in ("new/deep/a.parquet", "b.parquet"))
    assert one.equals(other) and len(one) == 480 - 167


def test_a_morning_without_prices_is_traded_by_the_rule_of_fixed_hours(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Paid at the price of the last morning that had one; after a week, at what was usual."""
    rows = table()
    gap = (rows.index % 24 == 3) & (rows.index > 240)
    run(monkeypatch, tmp_path / "a.parquet", written(tmp_path, rows[~gap]))
    found = pd.read_parquet(tmp_path / "a.parquet").set_index("timestamp")
    at_three = found[found["source"] == "safe"]
    assert (at_three.index.hour == 3).all() and len(at_three) == gap.sum() == 10
    assert at_three["guards"].str.startswith("missing").all() and at_three["price"].isna().all()
    assert (at_three["power_mw"] >= 0).all() and at_three["power_mw"].max() == 1
    paid = (-at_three["earned"] / at_three["power_mw"])[at_three["power_mw"] > 0]
    known = rows["price"].mask(gap)
    usual = [known[at - 167 : at + 1].median() for at in np.flatnonzero(gap)[6:]]
    expected = pd.Series([rows["price"][219]] * 6 + usual, at_three.index)
    assert paid.to_numpy() == pytest.approx(expected[paid.index].to_numpy()) and len(paid) > 2
    assert (
        "313 steps (10 without a price, paid at that of a day before), " in capsys.readouterr().out
    )


@pytest.mark.parametrize(("hours", "refused"), [(167, False), (168, True)])
def test_a_week_without_a_price_is_refused(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, refused: bool
) -> None:
    rows = table()
    source = written(tmp_path, rows.drop(index=range(200, 200 + hours)))
    if refused:
        with pytest.raises(SystemExit, match=r"in the week up to 2024-03-16 07:00:00; split"):
            run(monkeypatch, tmp_path / "a.parquet", source)
    else:
        run(monkeypatch, tmp_path / "a.parquet", source)
        found = pd.read_parquet(tmp_path / "a.parquet")
        assert found["price"].isna().sum() == hours and found["earned"].notna().all()


def test_the_file_of_prices_is_not_replaced_by_the_result(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    source = tmp_path / "prices.parquet"
    pd.read_csv(prices(tmp_path)).to_parquet(source)
    before = source.read_bytes()
    with pytest.raises(SystemExit):
        run(monkeypatch, source, tmp_path / "." / "prices.parquet")
    assert "is the file of prices" in capsys.readouterr().err and source.read_bytes() == before


def test_pandas_reads_nothing_just_before_the_end(
    predictor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hands pyarrow a file of Python's, which a thread of pyarrow's may hold a while longer than
    the reading takes; if the interpreter ends meanwhile, the process aborts, its work done."""
    rows = batch.prices(written(tmp_path, table()), predictor)
    with monkeypatch.context() as patch:
        patch.delattr(pd, "read_parquet")
        found = batch.run(tmp_path / "a.parquet", predictor, rows, 0.0)
    assert found.equals(pd.read_parquet(tmp_path / "a.parquet")[list(found.columns)])
