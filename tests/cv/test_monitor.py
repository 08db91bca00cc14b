"""What is kept of images, and the profile that live images are compared with."""

import monitor
import numpy as np
import pandas as pd
import pytest


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 50, 3)])
def test_features_are_mean_and_spread_of_all_values(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = monitor.features(pixels)
    assert found["brightness"] == pytest.approx(pixels.mean(), abs=1e-9)
    assert found["contrast"] == pytest.approx(pixels.std(), abs=1e-9)


def test_the_profile_has_deciles_and_equal_shares() -> None:
    values = np.random.default_rng(0).normal(100, 20, 1000)
    profile = monitor.reference(pd.DataFrame({"brightness": values, "contrast": 7.0}))["profile"]
    assert len(profile["brightness"]["edges"]) == 9
    assert profile["brightness"]["shares"] == pytest.approx([0.1] * 10, abs=0.002)
    assert sum(profile["contrast"]["shares"]) == 1, "a feature that never varies has a profile too"
