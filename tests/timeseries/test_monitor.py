"""The profile that monitoring compares with: shares of moments between the deciles of training."""

from pathlib import Path

import monitor
import numpy as np
import pandas as pd
import pytest
import yaml


def test_the_profile_has_a_tenth_of_the_moments_in_each_bin(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    size = generator.lognormal(5, 3, 1000)
    table = pd.DataFrame({"series_id": np.repeat([f"S{i}" for i in range(10)], 100)})
    table["level"] = size
    table["change"], table["spread"] = size * generator.normal(0, 0.1, 1000), size * 0.2
    table.to_parquet(tmp_path / "features.parquet")
    found = monitor.reference(tmp_path / "features.parquet")
    assert found["series"] == 10 and set(found["profile"]) == set(monitor.FEATURES)
    assert found["profile"]["change"]["shares"] == pytest.approx([0.1] * 10)
    assert sum(found["profile"]["spread"]["shares"]) == pytest.approx(1)


def test_features_do_not_depend_on_the_size_of_a_series() -> None:
    small, large = monitor.features(10, 1, 2), monitor.features(10_000, 1_000, 2_000)
    assert small == large == {"change": 0.1, "spread": 0.2}
    assert np.isfinite(list(monitor.features(0, 0, 0).values())).all()


def test_live_key_results_name_metrics_that_the_monitor_declares() -> None:
    document = yaml.safe_load((Path(monitor.__file__).parent / "objectives.yaml").read_text())
    wanted = {
        result["metric"]
        for objective in document["objectives"]
        for result in objective["key_results"]
        if result["when"] == "live"
    }
    own = {"live.latency_p95_ms", "live.error_share"}
    assert wanted <= set(monitor.LIVE_METRICS) | own
