"""Steps that have come become data, after what the service knew."""

from typing import Any

import grown
import numpy as np
import pandas as pd
import prepare

TIMES = pd.date_range("2020-01-01", periods=8, freq="MS")


def row(name: str, truth: Any, **changes: Any) -> dict[str, Any]:
    """A forecast of the last four of eight months."""
    found = {"series_id": name, "timestamps": [t.isoformat() for t in TIMES[4:]], "truth": truth}
    return found | changes


def source(*names: str) -> pd.DataFrame:
    parts = [pd.DataFrame({"series_id": name, "timestamp": TIMES}) for name in names]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(value=np.arange(len(table), dtype=float))


def test_what_has_come_is_a_long_table_with_its_covariates() -> None:
    month = TIMES[6].isoformat()
    rows = [row("a", [1.0, 2.0], covariates={"price": [5.0, 6.0, 7.0, 8.0]})]
    rows += [row("b", {month: 3.0}, covariates={"price": [1.0, 2.0, 3.0, 4.0]})]
    found = grown.come(rows, ["price"])
    assert found.to_dict("list") == {
        "series_id": ["a", "a", "b"],
        "timestamp": [TIMES[4], TIMES[5], TIMES[6]],
        "value": [1.0, 2.0, 3.0],
        "price": [5.0, 6.0, 3.0],
    }


def test_a_series_goes_as_far_as_the_service_knew_and_then_what_has_come() -> None:
    new = grown.come([row("a", [70.0, 80.0])], [])
    table = grown.together(source("a", "b", "c"), {"a": TIMES[3], "b": TIMES[5]}, new)
    lengths = table.groupby("series_id").size().to_dict()
    assert lengths == {"a": 6, "b": 6, "c": 8}, "the store knows nothing of c"
    assert table[table["series_id"] == "a"]["value"].tolist() == [0, 1, 2, 3, 70, 80]
    again = grown.together(source("a", "b", "c"), {"a": TIMES[5], "b": TIMES[5]}, new)
    assert again.equals(table), "what has come counts, also once the service knows it"


def test_no_row_means_no_demand_only_up_to_what_the_service_knows() -> None:
    """Only of `a` something has come: zeros of `b` in the same months would be invented."""
    known = dict.fromkeys(["a", "b"], TIMES[3])
    sold = source("a", "b", "c").assign(price=1.0).drop(index=[1, 10, 11, 23])
    raw = grown.with_zeros(sold, known, "MS", ["price"])
    new = grown.come(
        [row("a", {TIMES[5].isoformat(): 9.0}, covariates={"price": [2.0] * 4})], ["price"]
    )
    table = grown.together(raw, known, new)
    meta = {"frequency": "MS", "season_length": 12, "covariates": ["price"]}
    given = {"horizon": 1, "held_out": 1, "outliers": "keep", "calendar": ()}
    config = prepare.PrepareParams(gaps="interpolate", **given)
    whole = {
        name: prepare.completed(rows, TIMES[7], meta, config)
        for name, rows in table.groupby("series_id")
    }
    values = {name: one["value"].tolist() for name, one in whole.items()}
    assert values["b"] == [8, 9, 0, 0], "ends with what is known of it"
    assert values["a"][:4] == [0, 0, 2, 3], "May has not come: it is filled, and does not count"
    assert whole["a"]["filled"].tolist() == [False, False, False, False, True, False]
    assert values["c"] == [16, 17, 18, 19, 20, 21, 22, 0], "the end of all: it is not known"
    assert not whole["b"]["filled"].any() and whole["b"]["price"].tolist() == [1.0] * 4
