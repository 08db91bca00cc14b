import time
from pathlib import Path

import numpy as np
import pytest

from shared import exporting


def test_parity_counts_differences_and_decisions() -> None:
    ours, theirs = np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.8, 0.2], [0.6, 0.4]])
    found = exporting.parity(ours, theirs, lambda values: values.argmax(1))
    assert found["max_abs_diff"] == pytest.approx(0.2) and found["decision_agreement"] == 0.5


def test_parity_refuses_other_shapes_and_nan() -> None:
    with pytest.raises(ValueError, match="shape"):
        exporting.parity(np.zeros(2), np.zeros(3), np.sign)
    with pytest.raises(ValueError, match="finite"):
        exporting.parity(np.array([np.nan]), np.zeros(1), np.sign)


def test_size_is_in_megabytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 500_000)
    assert exporting.size_mb(tmp_path / "a") == 0.5


def test_latencies_rank_the_slower_call_higher() -> None:
    calls = {"slow": lambda _: time.sleep(0.005), "fast": lambda _: None}
    found = exporting.latencies_ms(calls, [1, 2])
    assert found["slow"] > 5 > found["fast"]
