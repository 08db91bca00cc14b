"""What is served counts timestamps without pandas, and as training does with it."""

import calendars
import frequency
import numpy as np
import pandas as pd
import pytest

MONTHLY = "MS ME BMS BME 2MS 5BME SMS-15 SME-15 SMS-3 SME-27 2SMS-15 3SME-10"
QUARTERLY = "QS-JAN QS-FEB QS-MAR QE-OCT QE-NOV QE-DEC 2QS-JAN BQS-FEB BQE-DEC 3BQE-OCT"
YEARLY = "YS-JAN YS-APR YE-JUN YE-DEC BYS-MAR BYE-SEP 3YS-JUL"
DAILY = "W-SUN W-MON W-TUE W-WED W-THU W-FRI W-SAT 2W-THU 4W-SAT B 3B D 2D 10D"
SHORT = "h 2h 90min 15min 5min min 30s 250ms 7us"
BARE = "W SMS SME QS QE BQS BQE YS YE BYS BYE"
FREQUENCIES = " ".join((MONTHLY, QUARTERLY, YEARLY, DAILY, SHORT, BARE)).split()
STARTS = ["1700-02-28", "1969-12-29", "1970-01-01", "1999-12-31", "2000-02-29", "2024-01-31 05:30"]
TEXTS = [
    *["2020", "2020-01", "20200105", "2020-01-05", "2020/01/05", "2020.01.05", "2020-1-5"],
    *["2020-01-05T03", "2020-01-05T0304", "2020-01-05 03:04", "20200105T030405"],
    *["2020-01-05T03:04:05.1", "2020-01-05T03:04:05.123456000", "2020-01-05T03:04:05."],
    *["2020-01-05T03:04Z", "2020-01-05T03:04 +01:00", "2020-06-05T03:04+01", "2020-06-05T03-0530"],
    *["2020-10-25T00:30Z", "2020-10-25T01:30Z", "1678-01-01", "2261-12-31"],
    *["202001", "2020-W01-1", "2020-001", "2020-02-30", "2020-01-05T24:00", "2020-01-05T03:04:60"],
    *["2020-01-05T", "2020-01-05t03", "2020-01-05T3", "2020-01-05 ", "2020-01-05T03:04+24:00"],
    *["1600-01-01", "2300-01-01", "-2020-01-05", "", "01/02/2020", "2020-01-05T03:04:05,5"],
]


@pytest.mark.parametrize("name", FREQUENCIES)
def test_steps_and_those_to_come_are_those_of_training(name: str) -> None:
    random, offset = np.random.default_rng(0), frequency.parse(name)
    for start in map(pd.Timestamp, STARTS):
        grid = pd.date_range(start, periods=60, freq=offset)
        noise = random.integers(0, 700 * 86400, 100).astype("timedelta64[s]")
        anywhere = pd.Series(pd.DatetimeIndex([*grid, *(start.to_datetime64() + noise)]))
        for times in (pd.Series(grid), anywhere, anywhere.dt.normalize()):
            number, rest = frequency.steps(times, name)
            found = calendars.steps(times.to_numpy(), name)
            np.testing.assert_array_equal(found, (number, np.where(rest < 0, -1, rest // 1000)))
        for last in [*grid[:2], *anywhere[60:75]]:
            wanted = frequency.next_steps(last, name, 12)
            np.testing.assert_array_equal(calendars.next_steps(last, name, 12), wanted)


def test_texts_are_read_and_refused_as_pandas_does() -> None:
    for text in TEXTS:
        try:
            (time,) = pd.to_datetime(pd.Series([text or "x"]), format="ISO8601", utc=True)
        except ValueError:
            with pytest.raises(ValueError):
                calendars.moment(text)
            continue
        clocks = {text[-1] == "Z", "+" in text[10:], "-" in text[10:]}
        wanted = time if True in clocks else time.tz_localize(None)
        assert calendars.moment(text) == wanted, text


def test_what_depends_on_the_moment_of_asking_is_no_timestamp() -> None:
    for text in ("now", "today", "NaT", "nan"):
        with pytest.raises(ValueError, match="is not ISO 8601"):
            calendars.moment(text)


@pytest.mark.parametrize(
    ("name", "days"), [("15min", 1 / 96), ("36h", 1.5), ("W-SUN", 1), ("2MS", 2)]
)
def test_a_step_is_at_least_so_long(name: str, days: float) -> None:
    assert calendars.parse(name).length == days * calendars.DAY


@pytest.mark.parametrize("name", ["fortnight", "bh", "-1D", "0D", "7ns", "D-MON", "MS;", ""])
def test_what_is_no_frequency_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no frequency; such are D, 15min"):
        calendars.parse(name)
