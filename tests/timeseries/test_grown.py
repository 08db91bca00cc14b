"""Steps that have come become data, after what the service knew."""

from typing import Any

import grown
import numpy as np
import pandas as pd

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
