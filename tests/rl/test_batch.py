"""A back-test of a file: safe in its holes, goes on after a stop, whole or not at all."""

import sys
from pathlib import Path
from typing import Any

import batch
import pandas as pd
import pytest

from rl import markets, policies


@pytest.fixture
def predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    env, market = policies.environment()
    folder = tmp_path / "export"
    folder.mkdir()
    found, _ = policies.exported(folder, env, market, policies.config())
    monkeypatch.setattr(batch, "EXPORT", folder)
    monkeypatch.setattr(batch, "CHUNK", 100)
    return found


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
