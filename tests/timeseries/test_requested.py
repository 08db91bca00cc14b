"""Examples that the model answers; timestamps on its frequency, also where clocks change."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import requested
import sources

from shared.guards import BadInput


@pytest.mark.parametrize("covariates", [[], ["price", "holiday"]])
def test_the_example_is_answered_whatever_the_model_was_trained_with(covariates: list[str]) -> None:
    meta: dict[str, Any] = {"series": ["shop 7"], "horizon": 3, "levels": [80.0]}
    meta |= {"covariates": covariates}
    model = requested.described(meta)
    schema = model.model_json_schema()
    assert schema["title"] == "Question" and schema["additionalProperties"] is False
    asked = model.model_validate(schema["example"], strict=True)
    assert asked.series_id == "shop 7" and requested.limits(asked, meta) == (3, [80.0])
    found = requested.covariates(asked, meta, 3)
    assert (found is None) if not covariates else (found is not None and found.shape == (1, 3, 2))


def model(frequency: str, zone: str, clock: str = "00:00:00") -> dict[str, Any]:
    return {"frequency": frequency, "timezone": zone, "ends": [f"2024-02-01T{clock}"]}


@pytest.mark.parametrize(
    ("texts", "frequency", "said"),
    [
        (["2024-01", "2024-02", "2024-03"], "MS", None),
        (["2024-03-01T00:00:00+01:00", "2024-04-01T00:00:00+02:00"], "MS", None),
        (["2024-01-01T00:00:00+00:00", "2024-01-02T00:00:00Z"], "MS", "not on the model's"),
        (["2024-03-30T23:00Z", "2024-03-31T00:00Z", "2024-03-31T02:00Z"], "h", "without gaps$"),
        (["2024-10-27T02:00", "2024-10-27T02:00"], "h", "where clocks change, send an offset"),
        (["2024-01-31", "2024-02-29", "2024-03-31"], "ME", None),
        (["2024-01-15", "2024-02-15"], "MS", "is not on the model's frequency MS"),
        (["2024-01-01", "2024-03-01"], "MS", "is not followed by the next step"),
        (["2024-02-01", "2024-01-01"], "MS", "is not followed by the next step"),
        (["2024-01-01", "2024-01-01"], "MS", "is not followed by the next step"),
        (["2024-01-01", "2024-01-02T03:00"], "D", "is not on the model's frequency D"),
        (["01/02/2024", "02/02/2024"], "D", "ISO 8601"),
        (["2024-01-01", ""], "D", "ISO 8601"),
        (["2024-01-01", "2024-01-02T00:00+01:00"], "D", "ISO 8601"),
        (["1400-01-01", "1400-01-02"], "D", "ISO 8601"),
        (["9" * 10000, "2024"], "D", "ISO 8601"),
    ],
)
def test_timestamps_are_those_of_the_model_or_refused(
    texts: list[str], frequency: str, said: str | None
) -> None:
    if said is None:
        assert len(requested.timestamps(texts, model(frequency, "Europe/Berlin"))) == len(texts)
    else:
        with pytest.raises(BadInput, match=said):
            requested.timestamps(texts, model(frequency, "Europe/Berlin"))


def stamps(start: str, frequency: str, zone: str, count: int = 8) -> list[str]:
    """As people send them: local times, each with its own offset."""
    steps = pd.date_range(start, periods=count, freq=frequency, tz=zone)
    return [time.isoformat() for time in steps]


def test_dates_are_local_ones_whatever_the_clocks_do() -> None:
    """A model whose source had no offsets has the default zone, UTC; its days are still days."""
    days = stamps("2024-03-28", "D", "Europe/Berlin")
    for zone in ("UTC", "Europe/Berlin"):
        for texts in (days, days[:3], stamps("2024-03-28", "D", "UTC")):
            found = requested.timestamps(texts, model("D", zone))
            assert [time.isoformat() for time in found] == texts
        found = requested.timestamps(stamps("2024-01", "MS", "Europe/Berlin"), model("MS", zone))
        assert found[-1].isoformat() == "2024-08-01T00:00:00+02:00"


def test_other_times_are_those_of_the_model_as_ingest_reads_them() -> None:
    texts = [f"2024-03-{day}T{clock}:00Z" for day, clock in ((29, 23), (30, 23), (31, 22))]
    found = requested.timestamps(texts, model("D", "Europe/Berlin"))
    learnt, _ = sources.moments(pd.Series(texts, dtype="category"), "Europe/Berlin")
    assert [time.replace(tzinfo=None) for time in found] == pd.DatetimeIndex(learnt).tolist()
    assert found[-1].isoformat() == "2024-04-01T00:00:00+02:00"
    with pytest.raises(BadInput, match="as a time of UTC; send local times without an offset"):
        requested.timestamps(texts, model("D", "UTC"))
    japan = stamps("2024-01-02", "D", "Asia/Tokyo")  # trained on such dates with the default zone
    found = requested.timestamps(japan, model("D", "UTC", "15:00:00"))
    assert found[0].isoformat() == "2024-01-01T15:00:00+00:00"


@pytest.mark.parametrize("start", ["2024-03-30 20:00", "2024-10-26 20:00"])
@pytest.mark.parametrize("frequency", ["h", "15min"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_hours_and_less_go_on_where_clocks_change(start: str, frequency: str, zone: str) -> None:
    texts = stamps(start, frequency, "Europe/Berlin", 50)
    found = requested.timestamps(texts, model(frequency, zone))
    assert found == [pd.Timestamp(text).to_pydatetime() for text in texts]
    clock = pd.Timestamp(texts[-1]).tz_convert(zone).tz_localize(None)
    assert found[-1].replace(tzinfo=None) == clock, "what the model's calendar looks at"
    assert len(np.unique(np.diff([time.replace(tzinfo=None) for time in found]))) == 1
