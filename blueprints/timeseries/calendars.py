"""Timestamps of a frequency by numpy alone: what is served counts so, as training does by pandas.

A frequency is one that `frequency` gives: MS, W-SUN, 15min, 2QS-JAN; the tests hold this file to
it. Times are datetime64[us]; days are counted from 1970.
"""

import functools
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np

Array = np.ndarray
DAY = 86_400_000_000  # microseconds
LENGTHS = {"D": DAY, "h": DAY // 24, "min": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
PERIODS = {"M": 1, "Q": 3, "Y": 12}  # months
ALIAS = re.compile(r"(\d*)([A-Za-z]+)(?:-([A-Z]{3}|\d+))?")
KINDS = re.compile(r"W|B|SM[SE]|B?[MQY][SE]")
YEARS = range(1678, 2262)  # those that pandas can count
ISO = re.compile(  # as pandas reads ISO 8601
    r"\s*(\d{4})(?:[-/.](\d\d?)(?:[-/.](\d\d?))?|(\d\d)(\d\d))?"
    r"(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{0,6})0*)?)?)?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Frequency:
    """`count` units a step; `anchor`: weekday, month of the year or day of the month, from 0."""

    count: int
    unit: str
    anchor: int = 0

    @property
    def length(self) -> int:
        """Microseconds of a step; of weeks, months and their like at least so many."""
        return self.count * LENGTHS.get(self.unit, DAY)

    def day(self, number: Array) -> Array:
        """The day of the timestamp with this number."""
        if self.unit == "W":
            return 7 * number + self.anchor - 3  # 1970 began on a Thursday
        if self.unit == "B":
            return 7 * (number // 5) + number % 5 - 3
        if self.unit == "SMS":
            return first_day(number // 2) + number % 2 * self.anchor
        if self.unit == "SME":
            last = first_day(number // 2 + 1) - 1
            return np.where(number % 2, last, first_day(number // 2) + self.anchor)
        months = PERIODS[self.unit[-2]]
        month = number * months + self.anchor % months
        found = first_day(month) if self.unit[-1] == "S" else first_day(month + 1) - 1
        if self.unit[0] != "B":
            return found
        weekday = (found + 3) % 7
        return found + (weekday > 4) * ((7 if self.unit[-1] == "S" else 4) - weekday)

    def number(self, days: Array) -> Array:
        """The number of the newest timestamp at or before each day."""
        if self.unit == "W":
            return (days + 3 - self.anchor) // 7
        if self.unit == "B":
            return (days + 3) // 7 * 5 + np.minimum((days + 3) % 7, 4)
        month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        if self.unit[0] == "S":
            found = 2 * month + 1
            found = found - (days < self.day(found))
        else:
            months = PERIODS[self.unit[-2]]
            found = (month - self.anchor % months) // months
        return found - (days < self.day(found))


def first_day(month: Array) -> Array:
    """Days from 1970 to the first day of a month that is counted from there as well."""
    return month.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


@functools.lru_cache(maxsize=64)
def parse(frequency: str) -> Frequency:
    """ValueError for what is no frequency."""
    found = ALIAS.fullmatch(frequency)
    count, unit, anchor = found.groups() if found else ("", "", None)
    known = KINDS.fullmatch(unit) or (unit in LENGTHS and anchor is None)
    if not known or int(count or 1) < 1:
        raise ValueError(f"{frequency} is no frequency; such are D, 15min, W-SUN, MS, 2QS-JAN")
    if unit in LENGTHS or unit == "B":
        return Frequency(int(count or 1), unit)
    if unit[:2] == "SM":
        return Frequency(int(count or 1), unit, int(anchor or 15) - 1)
    names = WEEKDAYS if unit == "W" else MONTHS
    usual = {"W": "SUN", "S": "JAN", "E": "DEC"}[unit[-1]]
    return Frequency(int(count or 1), unit, names.index(anchor or usual))


def steps(times: Array, frequency: str) -> tuple[Array, Array]:
    """Whole steps since one origin for all, and what is left over; -1 off the grid of days.

    Timestamps with the same rest are on one grid: their steps differ by one from each to the next.
    """
    step, moments = parse(frequency), times.astype("datetime64[us]").astype(np.int64)
    if step.unit in LENGTHS:
        return np.divmod(moments, step.count * LENGTHS[step.unit])
    if not len(moments):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    days, clock = np.divmod(moments, DAY)
    year = int(days.min().astype("datetime64[D]").astype("datetime64[Y]").astype(int)) + 1970
    origin = np.datetime64(f"{max((year - 1) // 10 * 10, YEARS[0])}-01-01", "D").astype(np.int64)
    number = step.number(days)
    since = number - step.number(origin - 1) - 1
    rest = since % step.count * DAY + clock
    return since // step.count, np.where(step.day(number) == days, rest, -1)


def next_steps(last: datetime | np.datetime64, frequency: str, horizon: int) -> Array:
    """The `horizon` timestamps that follow `last`."""
    step, ahead = parse(frequency), np.arange(1, horizon + 1)
    moment = np.datetime64(last, "us").astype(np.int64)
    if step.unit in LENGTHS:
        found = moment + ahead * (step.count * LENGTHS[step.unit])
    else:
        days, clock = np.divmod(moment, DAY)
        found = step.day(step.number(days) + ahead * step.count) * DAY + clock
    return found.astype("datetime64[us]")


def moment(text: str) -> datetime:
    """The time of an ISO 8601 text, with its offset where it has one."""
    if not (found := ISO.fullmatch(text)) or int(found[1]) not in YEARS:
        raise ValueError(f"{text[:40]} is not ISO 8601 of {YEARS[0]} to {YEARS[-1]}")
    year, month, day, month_2, day_2, hour, minute, second, part, offset = found.groups()
    date = (int(year), int(month or month_2 or 1), int(day or day_2 or 1))
    clock = (int(hour or 0), int(minute or 0), int(second or 0), int((part or "").ljust(6, "0")))
    time = datetime(*date, *clock)
    if offset is None:
        return time
    east = timedelta()
    if offset != "Z":
        minutes = offset[3:].lstrip(":") or "0"
        east = timedelta(hours=int(offset[1:3]), minutes=int(minutes)) * int(f"{offset[0]}1")
    return time.replace(tzinfo=timezone(east))
