"""One key result of objectives.yaml: target, and if it is live, when it is missed and what follows.

window: <N> requests | <N> labelled    consecutive windows of N records of the request log
for: <n> of <m>                        missed when n of the last m windows miss the target
for: <N>s|m|h                          of what the service measures itself: so long, no window
then: page | ticket | retrain | rollback
"""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# What every service measures by itself, whatever its AI type; units in the name.
SERVICE_METRICS = {"live.latency_p50_ms", "live.latency_p95_ms", "live.latency_p99_ms"}
SERVICE_METRICS |= {"live.error_share", "live.requests_per_s"}
# What the monitor counts in the windows of any service that logs what ended without an answer.
VALID_SHARE = "live.valid_share"
UNITS = {"s": 1, "m": 60, "h": 3600}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class KeyResult(Strict):
    id: str
    requirement: str
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    when: Literal["release", "live"]
    window: str | None = None
    hold: str | None = Field(default=None, alias="for")
    then: Literal["page", "retrain", "ticket", "rollback"] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "KeyResult":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{self.id}: give exactly one of at_least, at_most")
        if self.when == "live" and self.then is None:
            raise ValueError(f"{self.id}: a live key result needs an action in 'then'")
        if self.when == "release":
            if self.window or self.hold or self.then:
                raise ValueError(f"{self.id}: 'window', 'for', 'then' are of live key results")
        elif self.metric in SERVICE_METRICS:
            if self.window or self.seconds is None:
                wanted = "'for: <N>s|m|h' and no window, the service measures it all the time"
                raise ValueError(f"{self.id}: {self.metric} needs {wanted}")
        elif self.count is None or self.n_of_m is None:
            wanted = "'window: <N> requests|labelled' and 'for: <n> of <m>'"
            raise ValueError(f"{self.id}: {self.metric} needs {wanted}")
        return self

    @property
    def count(self) -> int | None:
        """Records in a window."""
        found = re.fullmatch(r"([1-9]\d*) (requests|labelled)", self.window or "")
        return int(found[1]) if found else None

    @property
    def labelled(self) -> bool:
        """Are only records counted whose truth has arrived?"""
        return bool(self.count and self.window and self.window.endswith("labelled"))

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """Missed when n of the last m windows miss the target."""
        found = re.fullmatch(r"([1-9]\d*) of ([1-9]\d*)", self.hold or "")
        return (int(found[1]), int(found[2])) if found and int(found[1]) <= int(found[2]) else None

    @property
    def seconds(self) -> float | None:
        """Missed when the target is missed for so long."""
        found = re.fullmatch(r"([1-9]\d*)([smh])", self.hold or "")
        return float(found[1]) * UNITS[found[2]] if found else None

    @property
    def limit(self) -> float:
        return (self.at_most or 0.0) if self.at_least is None else self.at_least

    @property
    def target(self) -> str:
        return f"{'<=' if self.at_least is None else '>='} {self.limit:g}"

    def holds(self, measured: float) -> bool:
        low, high = self.at_least, self.at_most
        return (low is None or measured >= low) and (high is None or measured <= high)

    def better(self, one: float, other: float) -> bool:
        return one > other if self.at_least is not None else one < other
