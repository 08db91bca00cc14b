"""Is this machine's clock to be believed? A device without a battery wakes in 1970; others jump."""

import time
from typing import Any

# Seconds since 1970: before the first, when this was written, no clock is set; from the second, in
# 2038, times of 32 bits are over.
SET = (1_760_000_000, 2_145_916_800)
BACK_S = 60  # clocks are put right by less than that all the time


def believable(seconds: float) -> bool:
    """Is this a time at which the code may run?"""
    return SET[0] <= seconds < SET[1]


class Clock:
    """The times of one log; set back, the clock is believed again when it has caught up."""

    def __init__(self) -> None:
        self.newest = 0.0

    def saw(self, seconds: float) -> None:
        """Something was written then."""
        if believable(seconds):
            self.newest = max(self.newest, seconds)

    def stamp(self) -> dict[str, Any]:
        """The time of a record, with `clock` where it is not to be believed."""
        now = time.time()
        stamp: dict[str, Any] = {"time": round(now, 3)}
        if not believable(now) or now < self.newest - BACK_S:
            return stamp | {"clock": "unsynced"}
        self.newest = max(self.newest, now)
        return stamp
