"""The exported policy through a history of prices, with its guard rails, step by step."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import battery as physics
import features
import numpy as np
from predictor import Moment, Predictor

Array = np.ndarray
COLUMNS = ("power_mw", "charge_mwh", "earned", "source", "guards")
Row = tuple[float, float, float, str, str]


def run(
    predictor: Predictor,
    prices: Array,
    start: datetime,
    charge: float = 0.0,
    before: float = 0.0,
    signals: Array | None = None,
) -> Iterator[Row]:
    """COLUMNS of each step from the end of the first week on.

    prices: [t], the first at `start`. Where there is none, NaN: such a step is paid at what the
    guards fill a week with, the price of a day before.
    signals: [t, columns] for a policy that was trained with any.
    """
    battery, week, day = predictor.battery, predictor.window, predictor.meta["day"]
    step = timedelta(days=1) / day
    for at in range(week - 1, len(prices)):
        now = signals[at] if signals is not None else None
        ago = signals[at - day] if signals is not None else None
        window = prices[at - week + 1 : at + 1]
        found = predictor.decide(Moment(window, start + at * step, charge, before, now, ago))
        power = np.array([found.power])
        price = window[-1:] if np.isfinite(window[-1]) else features.mended(window, day)[-1:]
        moved = physics.move(battery, np.array([charge]), power)
        earned = float(physics.money(battery, price, moved)[0])
        charge, before = found.charge, found.power
        yield found.power, charge, earned, found.source, " ".join(found.guards)
