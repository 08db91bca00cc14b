"""What a request may ask, and how it is checked: each refusal names the field and the limit."""

from datetime import datetime, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import calendars
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.guards import BadInput

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class History(BaseModel):
    """A series that the model has not seen: a value for each timestamp, the oldest first."""

    model_config = STRICT
    timestamps: list[str] = Field(description="ISO 8601, a step apart; all with an offset or none")
    values: list[float]


class Question(BaseModel):
    """A forecast by the id of a trained series, or by a history."""

    model_config = STRICT
    series_id: str | None = Field(default=None, max_length=200)
    history: History | None = None
    horizon: int | None = Field(default=None, description="steps ahead; default and most: trained")
    levels: list[float] | None = Field(default=None, description="per cent; default: as trained")
    covariates: dict[str, list[float]] | None = Field(
        default=None, description="future values, one per step, of what the model was trained with"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> "Question":
        if (self.series_id is None) == (self.history is None):
            raise ValueError("give exactly one of series_id, history")
        return self


def example(meta: dict[str, Any]) -> dict[str, Any]:
    """A question that this model answers."""
    future = {name: [0.0] * meta["horizon"] for name in meta["covariates"]}
    return {"series_id": meta["series"][0]} | ({"covariates": future} if future else {})


def described(meta: dict[str, Any]) -> type[Question]:
    """A question with an example that this model answers, for the OpenAPI page."""

    class Described(Question):
        __doc__ = Question.__doc__
        model_config = ConfigDict(title="Question", json_schema_extra={"example": example(meta)})

    return Described


def limits(question: Question, meta: dict[str, Any]) -> tuple[int, list[float]]:
    """Horizon and levels within what the model was trained for."""
    horizon = meta["horizon"] if question.horizon is None else question.horizon
    if not 1 <= horizon <= meta["horizon"]:
        raise BadInput("horizon", f"{horizon} is not from 1 to {meta['horizon']}")
    levels = meta["levels"] if question.levels is None else question.levels
    known = ", ".join(f"{level:g}" for level in meta["levels"])
    for level in levels:
        if level not in meta["levels"]:
            raise BadInput("levels", f"{level:g} is none of {known}")
    return horizon, list(dict.fromkeys(levels))


def covariates(question: Question, meta: dict[str, Any], horizon: int) -> np.ndarray | None:
    """[1, horizon, columns] future values in the order of training; None without covariates."""
    given, names = question.covariates or {}, meta["covariates"]
    for name in given:
        if name not in names:
            raise BadInput(f"covariates.{name[:60]}", "the model was trained without it")
    for name in names:
        if name not in given:
            reason = f"is missing: the model needs its value at each of the {horizon} steps ahead"
            raise BadInput(f"covariates.{name}", reason)
        if len(given[name]) != horizon:
            reason = f"has {len(given[name])} values for {horizon} steps"
            raise BadInput(f"covariates.{name}", reason)
    if not names:
        return None
    return np.array([given[name] for name in names], float).T[None]


def history(given: History, meta: dict[str, Any], most: int) -> tuple[list[datetime], list[float]]:
    """Timestamps and values of a usable history."""
    values, count = given.values, len(given.timestamps)
    least = max(2 * meta["season_length"], 4)
    if count != len(values):
        raise BadInput("history", f"has {count} timestamps and {len(values)} values")
    if count > most:
        raise BadInput("history", f"has {count} values; the limit is {most}: send the newest", 413)
    if count < least:
        raise BadInput("history", f"has {count} values; at least {least} are needed (two seasons)")
    if not meta["negative"] and min(values) < 0:
        at = given.timestamps[int(np.argmin(values))]
        raise BadInput("history.values", f"{min(values):g} at {at[:40]} is negative")
    if max(map(abs, values)) > 1e15:
        raise BadInput("history.values", "above 1e15 in size")
    return timestamps(given.timestamps, meta), values


def timestamps(texts: list[str], meta: dict[str, Any]) -> list[datetime]:
    """The timestamps, which must follow each other at the model's frequency; see `local`."""
    expected, zone = meta["frequency"], meta["timezone"]
    try:
        times = [calendars.moment(text) for text in texts]
        zoned = times[0].tzinfo is not None
        mixed = any((time.tzinfo is not None) != zoned for time in times)
        if mixed or max(map(len, texts)) > 40:
            raise ValueError("mixed or long")
    except ValueError:
        reason = "are not all ISO 8601, either with or without an offset"
        raise BadInput("history.timestamps", reason) from None
    times = local(times, meta) if zoned else times
    clocks = [time.replace(tzinfo=None) for time in times]
    steps, rest = calendars.steps(np.array(clocks, "datetime64[us]"), expected)
    off = np.flatnonzero((rest != rest[0]) | (rest < 0))
    if len(off):
        how = f" as a time of {zone}; send local times without an offset" if zoned else ""
        reason = f"{texts[off[0]]} is not on the model's frequency {expected}{how}"
        raise BadInput("history.timestamps", reason)
    jumps = np.flatnonzero(np.diff(steps) != 1)
    if len(jumps):
        pair = f"{texts[jumps[0]]} is not followed by the next step but by {texts[jumps[0] + 1]}"
        hours = not zoned and calendars.parse(expected).length < calendars.DAY
        how = "; where clocks change, send an offset" if hours else ""
        raise BadInput("history.timestamps", f"{pair}; frequency {expected}, without gaps{how}")
    return times


def local(times: list[datetime], meta: dict[str, Any]) -> list[datetime]:
    """Times with an offset as the model counts them: local ones of its time zone, as in `ingest`.

    Steps of an hour or less all take the newest offset, so that they go on where clocks change.
    Dates count as written where only that gives the time of day that the model's series have.
    """
    zone: tzinfo = ZoneInfo(meta["timezone"])
    length = calendars.parse(meta["frequency"]).length
    if length <= calendars.LENGTHS["h"]:
        zone = timezone(times[-1].astimezone(zone).utcoffset())
    found = [time.astimezone(zone) for time in times]
    usual = {meta["ends"][0][11:19]}
    written, counted = ({time.isoformat()[11:19] for time in these} for these in (times, found))
    return times if length >= calendars.DAY and written == usual != counted else found
