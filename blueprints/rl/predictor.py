"""Decisions without torch, Stable-Baselines3 or gymnasium: numpy and ONNX Runtime on `export/`.

The one place of pre- and post-processing: service, batch and export checks call this file.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import battery as physics
import features
import monitor
import numpy as np
import onnxruntime
import rails
from rails import Decision

Array = np.ndarray


class Moment(NamedTuple):
    """What is known when a decision is due; None and NaN for what is not."""

    prices: Array  # [7 * day] oldest first, the present price last
    time: datetime  # of the present price, with its zone
    charge: float | None
    before: float | None = None  # power of the last step
    signals: Array | None = None  # [columns] now
    signals_ago: Array | None = None  # [columns] a day ago


@dataclass(frozen=True)
class Played:
    """An action in an environment without prices."""

    action: Any
    source: str
    guards: list[str]


class Predictor:
    """An exported policy: `folder` holds model.json and policy.onnx."""

    def __init__(self, folder: str | Path = "export", threads: int = 1) -> None:
        folder = Path(folder)
        self.meta: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        path, where = str(folder / "policy.onnx"), ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(path, options, providers=where)
        self.profile, self.trades = self.meta["profile"], self.meta["env"]["id"] == "battery"
        if self.trades:
            self.battery = physics.build(self.meta["env"], 24 / self.meta["day"])
            self.window = features.DAYS * self.meta["day"]
            self.zone = ZoneInfo(self.meta["timezone"])

    def act(self, observations: Array) -> Array:
        """[n, columns] -> what the network does: numbers of actions, or [n, parts]."""
        return np.asarray(self.session.run(None, {"observation": observations})[0])

    def share(self, action: Array) -> Array:
        """[n] from -1, as much out as feasible, to 1, as much in; NaN for what is no action."""
        number, given = self.meta["env"]["actions"], np.asarray(action, float).reshape(len(action))
        if number is None:
            return given
        known = (given >= 0) & (given < number) & (given == np.floor(given))
        return np.where(known, 2 * given / (number - 1) - 1, np.nan)

    def observe(self, moment: Moment, charge: float, before: float) -> Array:
        """[1, columns] as in training."""
        begin = self.begin(moment.time)
        hour = np.array([begin.hour + begin.minute / 60])
        weekend = np.array([float(begin.weekday() >= 5)])
        signals = features.signals(
            np.reshape(moment.signals if moment.signals is not None else [], (1, -1)),
            np.reshape(moment.signals_ago if moment.signals_ago is not None else [], (1, -1)),
            self.meta["scales"],
        )
        window, usual = moment.prices[None], self.meta["usual_price"]
        seen = features.moments(self.battery, window, hour, weekend, signals, usual)
        state = np.array([charge]), np.array([before])
        return features.observe(self.battery, seen, *state)

    def safe_share(self, time: datetime) -> float:
        """The rule of fixed hours, which needs neither prices nor network."""
        return float(self.meta["fixed_hours"].get(f"{self.hour(time):g}", 0.0))

    def begin(self, time: datetime) -> datetime:
        """Local moment at which the step that holds `time` begins: 14:00 for 14:23, of hours."""
        local, day = time.astimezone(self.zone), self.meta["day"]
        first = round(min(map(float, self.meta["fixed_hours"]), default=0) * 60)  # 2.66667 is 2:40
        passed = local.hour * 60 + local.minute - first
        late = timedelta(minutes=passed * day % 1440 / day)  # of whole numbers, so exact
        return (time.astimezone(UTC) - late).astimezone(self.zone)  # clocks may change in a step

    def hour(self, time: datetime) -> float:
        """Of the local day, where its step begins; to the bit that of `prepare`."""
        begin = self.begin(time)
        return begin.hour + begin.minute / 60

    def decide(
        self, moment: Moment, stale: bool = False, unfamiliar_is_safe: bool = False
    ) -> Decision:
        """A feasible power for the step to come, whatever the moment holds."""
        guards = ["stale"] if stale else []
        signals, day = (moment.signals, moment.signals_ago), self.meta["day"]
        prices, ago = rails.without_holes(moment.prices, signals, day, guards)
        moment = moment._replace(prices=prices, signals_ago=ago)
        charge = rails.plausible_charge(self.battery, moment.charge, guards)
        before = rails.plausible_before(self.battery, moment.before)
        share = np.nan
        if not set(guards) & set(rails.REPLACED):
            share = self._share_of_policy(moment, charge, before, guards)
        replaced = set(guards) & set(rails.REPLACED)
        safe = bool(replaced) or (unfamiliar_is_safe and "unfamiliar" in guards)
        wished = self.safe_share(moment.time) if safe else share
        source = "safe" if safe else "policy"
        return rails.contained(self.battery, wished, charge, before, source, guards)

    def _share_of_policy(
        self, moment: Moment, charge: float, before: float, guards: list[str]
    ) -> float:
        observation = self.observe(moment, charge, before)
        if not np.isfinite(observation).all():
            guards.append("policy")
            return np.nan
        if monitor.outside(observation, self.profile)[0]:
            guards.append("unfamiliar")
        share = float(self.share(self.act(observation))[0])
        if not np.isfinite(share):
            guards.append("policy")
        return share

    def play(self, observation: Array, safe_action: Any, unfamiliar_is_safe: bool) -> Played:
        """An action in an environment without prices; observation: [columns]."""
        guards: list[str] = []
        if not np.isfinite(observation).all():
            return Played(safe_action, "safe", ["missing"])
        row = observation[None].astype(np.float32)
        if not np.isfinite(row).all() or monitor.outside(row, self.profile)[0]:
            guards.append("unfamiliar")
            if unfamiliar_is_safe or not np.isfinite(row).all():
                return Played(safe_action, "safe", guards)
        action = self.act(row)[0]
        if not np.isfinite(action).all():
            return Played(safe_action, "safe", [*guards, "policy"])
        return Played(action.tolist(), "policy", guards)
