"""Guard rails outside the network: whatever the policy says or is told, the action is feasible.

Each guard that acts has a name, which the answer and the request log carry:

    missing     the present price, a signal or too much of the week is missing or not finite
    filled      some past prices were missing: taken from the day before, as in training
    stale       the observation is older, or further ahead, than allowed
    charge      the charge is unknown or beyond what the battery holds: taken at the nearest limit
    unfamiliar  training saw nothing like this observation
    policy      the network gave no usable action
    limits      the power was cut to what charge, cells, grid and ramp allow
"""

from dataclasses import dataclass, field

import battery as physics
import features
import numpy as np
from battery import Battery

Array = np.ndarray
MOST_HOLES = 0.1  # of the week's prices that may be missing
REPLACED = ("missing", "stale", "policy")  # guards after which the safe action is taken


@dataclass
class Decision:
    """What to do in the step to come, why, and what the charge will be."""

    power: float
    charge: float
    share: float
    source: str  # policy | safe
    guards: list[str] = field(default_factory=list)


def without_holes(
    prices: Array, signals: tuple[Array | None, Array | None], day: int, guards: list[str]
) -> tuple[Array, Array | None]:
    """The week's prices and the signals of a day ago, filled where little is missing.

    signals: now and a day ago; those of a day ago that are unknown count as unchanged.
    """
    holes, (now, ago) = ~np.isfinite(prices), signals
    broken = now is not None and not np.isfinite(now).all()
    if broken or holes[-1] or holes.mean() > MOST_HOLES:
        guards.append("missing")
        return prices, ago
    unknown = ago is not None and not np.isfinite(ago).all()
    if holes.any() or unknown:
        guards.append("filled")
    filled = features.mended(prices, day) if holes.any() else prices
    return filled, np.where(np.isfinite(ago), ago, now) if unknown else ago


def plausible_charge(battery: Battery, charge: float | None, guards: list[str]) -> float:
    """The charge as told, within the battery; unknown counts as empty: nothing can be sold."""
    known = charge is not None and np.isfinite(charge)
    within = min(max(float(charge), 0.0), battery.energy_mwh) if known else 0.0  # type: ignore[arg-type]
    if not known or abs(within - charge) > physics.TOLERANCE:  # type: ignore[operator]
        guards.append("charge")
    return within


def plausible_before(battery: Battery, before: float | None) -> float:
    """The power of the last step; unknown counts as none."""
    known = before is not None and np.isfinite(before)
    return min(max(float(before), -battery.power_mw), battery.power_mw) if known else 0.0  # type: ignore[arg-type]


def contained(
    battery: Battery, share: float, charge: float, before: float, source: str, guards: list[str]
) -> Decision:
    """The decision for a wished share, whatever number that is: always feasible.

    Where the charge was not known, the battery neither fills nor empties: it rests, unless the ramp
    forbids that.
    """
    usable = share if np.isfinite(share) else 0.0
    if "charge" in guards:
        usable = 0.0
    state = np.array([charge]), np.array([before])
    share_of_power = min(max(usable, -1.0), 1.0)
    asked = share_of_power * battery.power_mw
    power = physics.power(battery, np.array([share_of_power]), *state)
    if abs(power[0] - asked) > physics.TOLERANCE:
        guards.append("limits")
    after = physics.move(battery, state[0], power).charge
    return Decision(float(power[0]), float(after[0]), float(usable), source, guards)
