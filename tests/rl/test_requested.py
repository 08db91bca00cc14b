"""Requests are refused with field and limit; nulls are numbers that did not arrive."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requested
from pydantic import ValidationError

from rl import policies
from shared.guards import BadInput

NOW = datetime(2024, 1, 1, tzinfo=UTC)
META: dict[str, Any] = {
    "day": 24,
    "signals": ["load"],
    "env": {"id": "battery", "energy_mwh": 4.0},
    "profile": {"low": [0.0], "high": [1.0]},
}


def situation(**changes: Any) -> requested.Situation:
    values = {"prices": [1.0] * 168, "charge_mwh": 1.0, "signals": {"load": 1.0}}
    return requested.Situation(**(values | {"signals_day_ago": {"load": 2.0}} | changes))


def test_a_situation_becomes_a_moment() -> None:
    asked = situation(prices=[None, *[2.0] * 167], timestamp="2024-05-01T12:00:00+02:00")
    found = requested.moment(asked, META, NOW)
    assert np.isnan(found.prices[0]) and found.prices[1:].tolist() == [2.0] * 167
    assert found.time == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert found.signals.tolist() == [1.0] and found.signals_ago.tolist() == [2.0]
    assert requested.moment(situation(), META, NOW).time == NOW


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"prices": [1.0] * 167}, "prices", "has 167 prices; the last 168 are needed"),
        ({"timestamp": "2024-01-01T00:00:00"}, "timestamp", "offset from UTC"),
        ({"timestamp": "today"}, "timestamp", "not ISO 8601"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "timestamp", "from 1900 to 2200"),
        ({"timestamp": "9999-12-31T23:59:59Z"}, "timestamp", "from 1900 to 2200"),
        ({"timestamp": "2024-01-01T00:00:00+00:00" + " " * 30}, "timestamp", "not ISO 8601"),
        ({"signals": {}}, "signals.load", "is missing"),
        ({"signals": {"load": 1.0, "wind": 1.0}}, "signals.wind", "trained without it"),
        ({"signals_day_ago": {"wind": None}}, "signals_day_ago.wind", "trained without it"),
    ],
)
def test_a_wrong_situation_names_the_field(changes: Any, field: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        requested.moment(situation(**changes), META, NOW)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prices": [1.0] * 168}, "prices"),
        ({"prices": [1.0] * 2000}, "prices"),
        ({"charge_mwh": 5.0}, "charge_mwh"),
        ({"start": "monday"}, "start"),
    ],
)
def test_a_wrong_episode_names_the_field(changes: Any, field: str) -> None:
    values = {"prices": [1.0] * 300, "start": "2024-01-01T00:00:00Z"} | changes
    with pytest.raises(BadInput) as caught:
        requested.episode(requested.Episode(**values), META | {"signals": []}, 1000)
    assert caught.value.field == field
    with pytest.raises(BadInput, match=r"batch\.py"):
        requested.episode(requested.Episode(**values), META, 1000)


def test_the_example_is_answered(tmp_path: Path) -> None:
    env, market = policies.environment()
    predictor, _ = policies.exported(tmp_path, env, market, policies.config())
    kind = requested.question(predictor.meta)
    example = kind.model_config["json_schema_extra"]["example"]
    asked = requested.moment(kind(**example), predictor.meta, NOW)
    assert predictor.decide(asked).source == "policy"


def test_another_environment_asks_for_its_observation() -> None:
    meta = {"env": {"id": "CartPole-v1"}, "profile": {"low": [0.0, -2], "high": [1.0, 2]}}
    kind = requested.question(meta)
    assert kind is requested.Observation
    assert kind.model_config["json_schema_extra"]["example"] == {"observation": [0.5, 0.0]}


@pytest.mark.parametrize(
    ("changes", "field", "limit"),
    [
        ({"prices": [1e10]}, ("prices", 0), "less than or equal to 1000000000"),
        ({"prices": [1.0, -1e10]}, ("prices", 1), "greater than or equal to -1000000000"),
        ({"prices": [float("nan")]}, ("prices", 0), "finite"),
        ({"prices": None}, ("prices",), "list"),
        ({"charge_mwh": float("inf")}, ("charge_mwh",), "finite"),
        ({"charge_mwh": -2e9}, ("charge_mwh",), "-1000000000"),
        ({"power_mw": "full"}, ("power_mw",), "valid number"),
        ({"signals": {"load": 1e99}}, ("signals", "load"), "1000000000"),
        ({"signals_day_ago": {"load": "x"}}, ("signals_day_ago", "load"), "valid number"),
        ({"price": [1.0]}, ("price",), "not permitted"),
        ({"timestamp": 5}, ("timestamp",), "string"),
    ],
)
def test_what_is_no_situation_names_field_and_limit(
    changes: Any, field: tuple[Any, ...], limit: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        situation(**changes)
    (error,) = caught.value.errors()
    assert error["loc"] == field and limit in error["msg"]


def test_an_episode_has_no_holes_and_an_observation_may() -> None:
    with pytest.raises(ValidationError) as caught:
        requested.Episode(prices=[1.0, None], start="2024-01-01T00:00:00Z")
    assert caught.value.errors()[0]["loc"] == ("prices", 1)
    asked = requested.Observation(observation=[None, 2.0])
    assert np.isnan(requested.array(asked.observation)).tolist() == [True, False]
    with pytest.raises(ValidationError, match="1000000000"):
        requested.Observation(observation=[1e10])


def test_nulls_are_numbers_that_did_not_arrive() -> None:
    nothing = {"load": None}
    asked = situation(charge_mwh=None, signals=nothing, signals_day_ago=nothing, power_mw=None)
    found = requested.moment(asked, META, NOW)
    assert found.charge is None and found.before is None
    assert np.isnan(found.signals).all() and np.isnan(found.signals_ago).all()
    plain = META | {"signals": []}
    found = requested.moment(situation(signals={}, signals_day_ago={}), plain, NOW)
    assert found.signals is None and found.signals_ago is None
    with pytest.raises(BadInput, match="trained without it"):
        requested.moment(situation(), plain, NOW)


def test_signals_come_in_the_order_of_training() -> None:
    meta = META | {"signals": ["load", "wind"]}
    now, ago = {"wind": 2.0, "load": 1.0}, {"load": 3.0, "wind": 4.0}
    found = requested.moment(situation(signals=now, signals_day_ago=ago), meta, NOW)
    assert found.signals.tolist() == [1, 2] and found.signals_ago.tolist() == [3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-31T01:30:00Z",
        "2024-03-31T03:30:00+02:00",
        "2024-03-30T20:30:00.000-05:00",
        "20240331T013000+0000",
        "2024-03-31 07:00:00+05:30",
    ],
)
def test_a_moment_is_the_same_with_any_offset(text: str) -> None:
    assert requested.time(text, "timestamp", NOW) == datetime(2024, 3, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "now", "2024-13-01T00:00:00Z", "2024-01-01", "0001-01-01T00:00:00+23:00", "9" * 99]
)
def test_what_is_no_moment_names_its_field(text: str) -> None:
    with pytest.raises(BadInput, match=r"ISO 8601 with an offset") as caught:
        requested.time(text, "start", NOW)
    assert caught.value.field == "start" and caught.value.status == 400


def test_an_episode_that_is_right_is_read_and_its_limits_are_told() -> None:
    meta, start = META | {"signals": []}, "2024-01-01T02:00:00+02:00"
    asked = requested.Episode(prices=[2.0] * 169, start=start, charge_mwh=4.0)
    prices, first = requested.episode(asked, meta, 169)
    assert prices.tolist() == [2.0] * 169 and first == NOW
    with pytest.raises(BadInput, match="has 169 prices; from 169 to 168 are possible"):
        requested.episode(asked, meta, 168)
    with pytest.raises(BadInput, match="is not from 0 to 4"):
        requested.episode(asked.model_copy(update={"charge_mwh": -0.1}), meta, 169)
    with pytest.raises(BadInput, match="use batch") as caught:
        requested.episode(asked, {"env": {"id": "CartPole-v1"}}, 169)
    assert caught.value.status == 404


def test_the_example_fits_the_schema_also_with_signals() -> None:
    kind = requested.question(META)
    example = kind.model_json_schema()["example"]
    asked = kind.model_validate_json(json.dumps(example), strict=True)
    found = requested.moment(asked, META, NOW)
    assert found.signals.tolist() == [0] and found.charge == 2 and len(found.prices) == 168
