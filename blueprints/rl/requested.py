"""What a request may ask, and how it is checked: each refusal names the field and the limit."""

from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from predictor import Moment
from pydantic import BaseModel, ConfigDict, Field

from shared.guards import BadInput

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
LARGEST = 1e9
FIRST_YEAR, LAST_YEAR = 1900, 2200
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Numbers = list[Number | None]


class Situation(BaseModel):
    """The prices of a week and the battery's state; null is a number that did not arrive."""

    model_config = STRICT
    prices: Numbers = Field(description="the last week, oldest first, the present price last")
    charge_mwh: Number | None = Field(description="what the battery holds now")
    timestamp: str | None = Field(
        default=None, description="of the present price, ISO 8601 with offset; default: now"
    )
    power_mw: Number | None = Field(default=None, description="of the step before; default: 0")
    signals: dict[str, Number | None] = Field(default={}, description="now, as trained")
    signals_day_ago: dict[str, Number | None] = Field(default={}, description="a day before")


class Observation(BaseModel):
    """What an environment without prices shows at this step; null did not arrive."""

    model_config = STRICT
    observation: Numbers


class Episode(BaseModel):
    """Prices for a back-test: the first week is only looked at, then the battery trades."""

    model_config = STRICT
    prices: list[Number]
    start: str = Field(description="time of the first price, ISO 8601 with offset")
    charge_mwh: Number = 0.0


def question(meta: dict[str, Any]) -> type[BaseModel]:
    """What /act asks for, with an example that this policy answers."""
    if meta["env"]["id"] == "battery":
        day = [
            round(30 + 20 * float(np.sin(i * 2 * np.pi / meta["day"])), 2)
            for i in range(meta["day"])
        ]
        example: dict[str, Any] = {"prices": day * 7, "charge_mwh": meta["env"]["energy_mwh"] / 2}
        if meta["signals"]:
            example |= {
                name: dict.fromkeys(meta["signals"], 0.0) for name in ("signals", "signals_day_ago")
            }
        kind: type[BaseModel] = Situation
    else:
        middle = (np.array(meta["profile"]["low"]) + np.array(meta["profile"]["high"])) / 2
        example, kind = {"observation": np.round(middle, 4).tolist()}, Observation
    kind.model_config["json_schema_extra"] = {"example": example}
    kind.model_rebuild(force=True)
    return kind


def array(values: Numbers) -> np.ndarray:
    return np.array(values, float)  # which makes NaN of None


def time(text: str | None, field: str, now: datetime) -> datetime:
    """A moment with its zone; `now` where none is given."""
    if text is None:
        return now
    try:
        found = datetime.fromisoformat(text if len(text) <= 40 else "")
        if found.tzinfo is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
            raise ValueError("no offset, or far away")
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        wanted = f"is not ISO 8601 with an offset from UTC, from {FIRST_YEAR} to {LAST_YEAR}"
        raise BadInput(field, wanted) from None


def signals(given: dict[str, float | None], field: str, meta: dict[str, Any]) -> np.ndarray:
    """[columns] in the order of training; each must be named, null stands for unknown."""
    for name in given:
        if name not in meta["signals"]:
            raise BadInput(f"{field}.{name[:60]}", "the policy was trained without it")
    for name in meta["signals"]:
        if name not in given:
            raise BadInput(f"{field}.{name}", "is missing: the policy was trained with it")
    return array([given[name] for name in meta["signals"]])


def moment(asked: Situation, meta: dict[str, Any], now: datetime) -> Moment:
    """What the predictor needs, of the right shape."""
    week = 7 * meta["day"]
    if len(asked.prices) != week:
        reason = f"has {len(asked.prices)} prices; the last {week} are needed (a week of steps)"
        raise BadInput("prices", reason)
    return Moment(
        array(asked.prices),
        time(asked.timestamp, "timestamp", now),
        asked.charge_mwh,
        asked.power_mw,
        signals(asked.signals, "signals", meta) if meta["signals"] or asked.signals else None,
        signals(asked.signals_day_ago, "signals_day_ago", meta)
        if meta["signals"] or asked.signals_day_ago
        else None,
    )


def episode(asked: Episode, meta: dict[str, Any], most: int) -> tuple[np.ndarray, datetime]:
    """Prices and first moment of a usable episode."""
    if meta["env"]["id"] != "battery" or meta["signals"]:
        raise BadInput("prices", "this policy does not live by prices alone; use batch.py", 404)
    week, count = 7 * meta["day"], len(asked.prices)
    if not week < count <= most:
        raise BadInput("prices", f"has {count} prices; from {week + 1} to {most} are possible")
    if not 0 <= asked.charge_mwh <= meta["env"]["energy_mwh"]:
        raise BadInput("charge_mwh", f"is not from 0 to {meta['env']['energy_mwh']:g}")
    return np.array(asked.prices, float), time(asked.start, "start", datetime.now(UTC))
