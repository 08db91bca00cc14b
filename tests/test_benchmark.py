"""Servers in turns: the median counts, and a server that fails is named."""

import sys
from pathlib import Path

import pytest

from shared import benchmark


def test_the_table_shows_the_median_round_as_a_share_of_the_limit() -> None:
    rates = iter([9.0, 100, 300, 200])
    candidates = {"limit": lambda: benchmark.Load(next(rates), 1, 2)}
    results = benchmark.in_turns(candidates)
    assert results["limit"].requests_per_second == 200, "the first round warms up"
    assert "| limit | 200 | 1.0 | 2.0 | 1.00 |" in benchmark.table(results, "limit")


def test_a_server_that_stops_is_named_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with (
        pytest.raises(RuntimeError, match="no model here"),
        benchmark.running(command, "http://127.0.0.1:9/", tmp_path / "log"),
    ):
        pass


def test_a_server_is_stopped_at_the_end(tmp_path: Path) -> None:
    port = benchmark.free_port()
    command = [
        sys.executable,
        "-m",
        "http.server",
        str(port),
        "--bind",
        "127.0.0.1",
        "--directory",
        str(tmp_path),
    ]
    with benchmark.running(command, f"http://127.0.0.1:{port}/", tmp_path / "log"):
        assert benchmark._answers(f"http://127.0.0.1:{port}/")
    assert not benchmark._answers(f"http://127.0.0.1:{port}/")
