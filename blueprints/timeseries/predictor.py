"""Forecasts without torch, sktime or pandas: numpy and ONNX Runtime on what `export` wrote.

Service and batch call this file, and `export` checks that it forecasts what `evaluate` scores. A
series the model knows is forecast from its own state, brought up to date with the values that came
since; an unknown one from its history, with the parameters usual for the others.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import calendars
import classical
import features
import intervals
import numpy as np
import onnxruntime
from safetensors.numpy import load_file

from shared.guards import BadInput

Array = np.ndarray


@dataclass(frozen=True)
class Known:
    """What is known of some series at their newest moment; n rows each."""

    chosen: list[str]
    recent: Array  # [n, seasons * season_length], newest first
    observations: Array  # [n]
    last: list[datetime]  # local times; those of a request that has offsets have one, too
    states: dict[str, classical.State]


@dataclass(frozen=True)
class Answer:
    """The forecast of one series: a mean and intervals for each timestamp."""

    timestamps: list[str]
    mean: Array  # [horizon]
    intervals: dict[str, tuple[Array, Array]]  # level -> lower, upper
    model: str


class Predictor:
    """An exported model: `folder` holds model.json, states.safetensors and global.onnx."""

    def __init__(self, folder: str | Path = "export", threads: int = 1) -> None:
        folder = Path(folder)
        self.meta: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.season_length, self.horizon = self.meta["season_length"], self.meta["horizon"]
        self.index = {name: i for i, name in enumerate(self.meta["series"])}
        self.states: dict[str, classical.State] = {}
        for key, values in load_file(folder / "states.safetensors").items():
            name, part = key.split(".")
            self.states.setdefault(name, {})[part] = values
        self.session = None
        if self.meta["global_model"]:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            path, where = str(folder / "global.onnx"), ["CPUExecutionProvider"]
            self.session = onnxruntime.InferenceSession(path, options, providers=where)

    def known(self, rows: list[dict[str, Any]]) -> Known:
        """Trained series by their rows of store.newest; KeyError for one that is not trained."""
        at, new = [self.index[row["series_id"]] for row in rows], self.new_values(rows)
        recent = np.array([row["recent"] for row in rows], float)
        observations = np.array([row["observations"] for row in rows], np.int64)
        if new.min() < 0:
            name = rows[int(new.argmin())]["series_id"]
            raise BadInput("series_id", f"{name}: its features are older than the model", 503)
        states = {}
        for name, state in self.states.items():
            own = {key: values[at] for key, values in state.items()}
            states[name] = classical.updated(name, own, recent, new)
        chosen = [self.meta["choices"][i] for i in at]
        return Known(chosen, recent, observations, [row["last"] for row in rows], states)

    def new_values(self, rows: list[dict[str, Any]]) -> Array:
        """[n] steps since the model was fitted; below 0 for older rows."""
        ends = [self.meta["ends"][self.index[row["series_id"]]] for row in rows]
        both = np.array([*(row["last"] for row in rows), *ends], "datetime64[us]")
        steps, _ = calendars.steps(both, self.meta["frequency"])
        return np.asarray(steps[: len(rows)] - steps[len(rows) :])

    def of_history(self, values: Array, last: datetime) -> Known:
        """A series that only the request knows: [t] values without gaps."""
        recent = features.origins(values, self.season_length, np.array([len(values)]))["recent"]
        usual = self.meta["usual_parameters"]
        states = {
            name: classical.begin(name, values, self.season_length, usual.get(name, {}))
            for name in self.states
        }
        return Known([self.meta["usual_choice"]], recent, np.array([len(values)]), [last], states)

    def candidates(self, known: Known, horizon: int, covariates: Array | None) -> dict[str, Array]:
        """Means [n, horizon] of every exported candidate; covariates: [n, horizon, columns]."""
        found = {
            name: classical.forecast(name, state, horizon) for name, state in known.states.items()
        }
        if self.session is not None:
            found["global"] = self._global(known, horizon, covariates)
        members = [name for name in self.meta["combined"] if name in found]
        return classical.finished(found, known.recent, self.meta["negative"], members)

    def _global(self, known: Known, horizon: int, covariates: Array | None) -> Array:
        steps, more = np.arange(1, horizon + 1), []
        if self.meta["calendar"]:
            times = np.stack([self.next_steps(last, horizon) for last in known.last])
            more += features.calendar(times, tuple(self.meta["calendar"]))
        if covariates is not None:
            more += list(np.moveaxis(covariates, 2, 0))
        rows, base = features.rows(
            known.recent, known.observations, self.season_length, steps, more
        )
        assert self.session is not None
        change = self.session.run(None, {"rows": rows.reshape(-1, rows.shape[2])})[0]
        return features.unsquash(base + change.reshape(base.shape))

    def next_steps(self, last: datetime, horizon: int) -> Array:
        return calendars.next_steps(last.replace(tzinfo=None), self.meta["frequency"], horizon)

    def forecast(
        self, known: Known, horizon: int, levels: list[float], covariates: Array | None = None
    ) -> list[Answer]:
        """One answer per series; a chosen model that cannot forecast gives way to last season."""
        found = self.candidates(known, horizon, covariates)
        unit = features.scale(known.recent, self.season_length)
        place = (-np.arange(1, horizon + 1)) % self.season_length
        answers = []
        for i, (name, last) in enumerate(zip(known.chosen, known.last, strict=True)):
            mean = found[name][i]
            mean = np.where(np.isfinite(mean), mean, known.recent[i, place])
            bands = {
                f"{level:g}": intervals.interval(mean, unit[i], level, self.meta)
                for level in levels
            }
            ahead = self.next_steps(last, horizon).tolist()
            times = [time.replace(tzinfo=last.tzinfo).isoformat() for time in ahead]
            answers.append(Answer(times, mean, bands, name))
        return answers
