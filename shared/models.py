"""The model in service, exchanged between two requests: a pointer file names the one deployed.

MODEL_POINTER=/path/live/current turns it on: one line, the name of a folder in models/ beside it,
which holds an export and its provenance.json. Unset, the export/ beside service.py is served.
"""

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from shared import memory, params, provenance, telemetry

Predictor = TypeVar("Predictor")
EVERY_S = 1.0
NO_FILE: tuple[int, ...] = ()


class Loaded(NamedTuple, Generic[Predictor]):
    """A model, and where it comes from."""

    predictor: Predictor
    chain: dict[str, Any]


class Models(Generic[Predictor]):
    """`now` is the model in service. A request takes it once, and so keeps it to its end.

    folder: of service.py. Its export/ is served first; it says what every other model must agree
        with, for request types, OpenAPI and examples are made of it once.
    load: a folder with an export -> predictor.
    interface: predictor -> what clients rely on, by name.
    example: predictor -> its answer to an example, as JSON; NaN in it is an error.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable[[Path], Predictor],
        interface: Callable[[Predictor], dict[str, Any]],
        example: Callable[[Predictor], Any],
    ) -> None:
        self.folder, self.load = folder, load
        self.interface, self.example = interface, example
        self.packaged = provenance.packaged(folder)
        given = os.environ.get("MODEL_POINTER")
        self.pointer, self.seen = Path(given) if given else None, NO_FILE
        self.exchanged = False  # at the last look
        if not supervises():  # a model that cannot be loaded ends the process here
            telemetry.MODEL.labels(self.now.chain["model_version"]).set(1)

    @functools.cached_property
    def now(self) -> Loaded[Predictor]:
        """The model in service, at first the packaged one."""
        loaded = Loaded(self.load(self.folder / "export"), self.packaged)
        self.promised = self.interface(loaded.predictor)
        return loaded

    async def watch(self) -> None:
        """Look once a second, in a thread, until cancelled."""
        while self.pointer:
            await asyncio.sleep(EVERY_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Serve the model that the pointer names, if it has changed since the last look.

        A model that cannot be served is counted, said once, and not tried again; the one before
        serves on. Never raises. The memory of the one before goes at the look after, when the
        requests that had it have ended.
        """
        if self.exchanged:
            memory.give_back()
            self.exchanged = False
        if self.pointer is None or (state := _state(self.pointer)) == self.seen:
            return
        self.seen = state
        try:
            loaded = self._loaded(self.pointer)
        except Exception as error:
            telemetry.REFUSED.inc()
            reason = f"{type(error).__name__}: {error}"
            _say({"error": f"model refused: {reason}"[:1000], "serves": self._version})
            return
        telemetry.MODEL.labels(self._version).set(0)
        self.now, self.exchanged = loaded, True
        telemetry.MODEL.labels(self._version).set(1)
        _say({"serves": self._version})

    @property
    def _version(self) -> str:
        return str(self.now.chain["model_version"])

    def _loaded(self, pointer: Path) -> Loaded[Predictor]:
        """The model that the pointer names."""
        name = pointer.read_text(encoding="utf-8").strip()
        if not name or Path(name).name != name:
            raise ValueError(f"{pointer} names no folder: {name!r:.80}")
        return self.tried(pointer.parent / "models" / name)

    def tried(self, folder: Path) -> Loaded[Predictor]:
        """The model in `folder`, once it gave an answer to the example.

        Raises whatever is wrong with it, ValueError for another interface.
        """
        chain = params.read_json(folder / "provenance.json")
        predictor = self.load(folder)
        offered = {**self.interface(predictor), "name": chain["name"]}
        promised = {**self.promised, "name": self.packaged["name"]}
        if other := [key for key in promised if offered.get(key) != promised[key]]:
            found = ", ".join(other)
            raise ValueError(f"{folder.name} has another {found}; deploy a new Bento instead")
        json.dumps(self.example(predictor), allow_nan=False)
        # What runs is this Bento, whichever the model was packaged with.
        bento = {"bento": self.packaged["bento"], "model_version": str(chain["model_version"])}
        return Loaded(predictor, {**chain, **bento})


def supervises() -> bool:
    """Whether this process only starts those that answer, each of which imports the service anew.

    A model of its own would double an image's memory and the wait until it is ready. Outside of
    images `bentoml serve` starts workers for ever that cannot load a model; its own attempt ends.
    """
    return "BENTOML_CONTAINERIZED" in os.environ and Path(sys.argv[0]).name == "bentoml"


def _state(path: Path) -> tuple[int, ...]:
    """What differs when a file was replaced, written or made readable."""
    try:
        status = path.stat()
    except FileNotFoundError:  # nothing was deployed yet
        return NO_FILE
    except OSError as error:
        return (error.errno or 0,)
    return status.st_ino, status.st_ctime_ns


def _say(what: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps({"time": round(time.time(), 3), **what}) + "\n")
