"""The command of the batch refuses what would cost its user a file."""

import sys
from pathlib import Path

import batch
import pytest


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("planned.parquet", "is the file of covariates"),
        ("forecasts.csv", "must be a file that ends in .parquet"),
    ],
)
def test_a_result_in_a_wrong_place_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    result: str,
    message: str,
) -> None:
    given = tmp_path / "planned.parquet"
    given.write_bytes(b"mine")
    command = ["batch.py", str(tmp_path / "." / result), "--covariates", str(given)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        batch.main()
    assert message in capsys.readouterr().err and given.read_bytes() == b"mine"
