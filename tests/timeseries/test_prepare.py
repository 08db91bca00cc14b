"""Prepared series: on their grid, filled without the future, split at their end."""

from typing import Any

import numpy as np
import pandas as pd
import prepare
import pytest

END = pd.Timestamp("2024-03-01")
META: dict[str, Any] = {"frequency": "D", "season_length": 7, "covariates": ["price"]}


def config(**changes: Any) -> prepare.PrepareParams:
    given = {"horizon": 3, "held_out": None, "gaps": "interpolate"}
    given |= {"outliers": "keep", "calendar": ()}
    return prepare.PrepareParams(**given | changes)


def rows(values: list[float], missing: tuple[int, ...] = ()) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=len(values), freq="D")
    table = pd.DataFrame({"series_id": "a", "timestamp": days, "value": values, "price": 1.0})
    return table.drop(index=list(missing))


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("interpolate", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("zero", [1, 2, 0, 0, 5, 6, 7, 8]),
        ("previous", [1, 2, 2, 2, 5, 6, 7, 8]),
    ],
)
def test_gaps_are_filled_as_asked(policy: str, wanted: list[float]) -> None:
    values = np.array([1, 2, np.nan, np.nan, 5, 6, 7, 8])
    np.testing.assert_array_equal(prepare.fill(values, policy, 7), wanted)


def test_a_gap_takes_the_value_of_its_place_in_the_last_season() -> None:
    values = np.array([1, 2, 3, 4, np.nan, 6, 7, np.nan, np.nan])
    wanted = [1, 2, 3, 4, 1, 6, 7, 4, 1]
    np.testing.assert_array_equal(prepare.fill(values, "season", 4), wanted)


def test_missing_steps_come_back_marked_and_the_end_is_held_out() -> None:
    table = prepare.completed(
        rows([float(i) for i in range(10)], missing=(4, 8)), END, META, config()
    )
    assert table["filled"].tolist() == [i in (4, 8) for i in range(10)]
    assert table["split"].tolist() == ["train"] * 7 + ["test"] * 3
    assert table["value"][4] == 4 and table["price"].notna().all()


@pytest.mark.parametrize("number", [2, 4])
def test_the_test_may_be_shorter_or_longer_than_the_horizon(number: int) -> None:
    given = config(held_out=number)
    table = prepare.completed(rows([1.0] * 10), END, META, given)
    assert table["split"].tolist() == ["train"] * (10 - number) + ["test"] * number


def test_no_row_means_no_demand_up_to_the_end_of_all_series() -> None:
    """Such zeros are values: they are learnt from and scored."""
    table = rows([1.0, 2, 3, 4, 5, 6], missing=(1, 4))
    found = prepare.completed(table, pd.Timestamp("2024-01-08"), META, config(gaps="zero"))
    assert found["value"].tolist() == [1, 0, 3, 4, 0, 6, 0, 0] and not found["filled"].any()
    table.loc[2, "value"] = np.nan  # an outlier that was taken away
    found = prepare.completed(table, pd.Timestamp("2024-01-08"), META, config(gaps="zero"))
    assert found["value"][2] == 2 and np.flatnonzero(found["filled"]).tolist() == [2]


def test_zeros_have_the_covariates_before_them_unless_their_rows_are_given() -> None:
    """None are missing: the model would learn from that, and be scored by it, where demand is 0."""
    table = rows([5.0, 7, 0, 4, 0, 6, 8], missing=(2,)).assign(price=[1.0, 1, 0, 0, 0, 1])
    found = prepare.completed(table, pd.Timestamp("2024-01-08"), META, config(gaps="zero"))
    assert found["value"].tolist() == [5, 7, 0, 4, 0, 6, 8, 0]
    assert found["price"].tolist() == [1, 1, 1, 0, 0, 0, 1, 1]


def test_a_gap_at_the_end_of_training_does_not_see_the_test() -> None:
    calm = prepare.completed(rows([1.0] * 7 + [1, 1, 1], missing=(6,)), END, META, config())
    wild = prepare.completed(rows([1.0] * 7 + [900, 900, 900], missing=(6,)), END, META, config())
    train = slice(0, 7)
    assert calm["value"][train].tolist() == wild["value"][train].tolist() == [1.0] * 7


def test_outliers_of_training_are_replaced_and_those_of_the_test_stay(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("validate: {outlier_score: 8}\n")
    generator = np.random.default_rng(0)
    values = 100 + 10 * np.sin(np.arange(70) * 2 * np.pi / 7) + generator.normal(0, 1, 70)
    values[30], values[68] = 5000, 5000
    table = prepare.without_outliers(rows(values.tolist()), 3, META)
    assert np.flatnonzero(table["value"].isna()).tolist() == [30]
    assert table["value"][68] == 5000


def test_features_begin_with_the_second_season_and_end_with_the_last_value() -> None:
    series = prepare.completed(rows([float(i) for i in range(30)]), END, META, config())
    found = prepare.known(series, 7).to_pandas()
    assert found["observations"].tolist() == list(range(14, 31))
    assert found["event_timestamp"].iloc[-1] == pd.Timestamp("2024-01-30", tz="UTC")
    assert found["recent"].iloc[-1][:3].tolist() == [29, 28, 27]
