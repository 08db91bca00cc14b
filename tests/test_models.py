"""Models are exchanged while requests run; what cannot be served is refused once, with a reason."""

import asyncio
import gc
import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper
from prometheus_client import REGISTRY

from shared import models, params
from shared.models import Models

CHAIN = {"name": "demo", "git_commit": "c", "bento": "demo:1"}


class Scaling:
    """A model that multiplies, with two classes to tell from each other."""

    def __init__(self, folder: Path) -> None:
        self.meta = params.read_json(folder / "model.json")
        where = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=where)

    def answer(self, value: float) -> float:
        return float(self.session.run(None, {"x": np.array([value], np.float32)})[0][0])


def interface(model: Scaling) -> dict[str, Any]:
    return {"classes": model.meta["classes"], "horizon": model.meta.get("horizon")}


def write(folder: Path, version: str, factor: float = 1.0, opset: int = 17, **meta: Any) -> Path:
    """An export with its provenance."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    weight = numpy_helper.from_array(np.array([factor], np.float32), "w")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(10, opset)
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, str(folder / "model.onnx"))
    params.write_json(folder / "model.json", {"classes": ["a", "b"]} | meta)
    params.write_json(folder / "provenance.json", CHAIN | {"model_version": version})
    return folder


class Place:
    """A blueprint's folder with an export and live/, and its models."""

    def __init__(self, folder: Path) -> None:
        write(folder / "export", "packaged")
        params.write_json(folder / "provenance.json", CHAIN | {"model_version": "packaged"})
        self.live = folder / "live"
        self.live.mkdir()
        self.models = Models(folder, Scaling, interface, lambda model: model.answer(2.0))

    def point(self, name: str | bytes) -> None:
        content = name if isinstance(name, bytes) else f"{name}\n".encode()
        (self.live / "draft").write_bytes(content)
        (self.live / "draft").replace(self.live / "current")

    def deploy(self, version: str, factor: float = 1.0, **meta: Any) -> Path:
        folder = write(self.live / "models" / version, version, factor, **meta)
        self.point(version)
        return folder

    @property
    def version(self) -> str:
        return str(self.models.now.chain["model_version"])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("MODEL_POINTER", str(tmp_path / "live/current"))
    return Place(tmp_path)


def failures() -> float:
    return REGISTRY.get_sample_value("service_model_load_failed_total") or 0.0


def served(version: str) -> float | None:
    return REGISTRY.get_sample_value("service_model_info", {"model_version": version})


def test_without_a_pointer_the_export_is_served(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.deploy("v1")
    place.models.look()
    asyncio.run(place.models.watch())  # there is nothing to watch, so it ends
    assert place.version == "packaged" and served("packaged") == 1


@pytest.mark.parametrize(
    ("program", "in_image", "loads"),
    [
        ("/app/bin/bentoml", True, 0),
        ("/app/lib/python3.11/site-packages/_bentoml_impl/worker/service.py", True, 1),
        ("/usr/bin/bentoml", False, 1),
    ],
)
def test_in_an_image_the_process_that_starts_workers_loads_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, in_image: bool, loads: int
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "serve"])
    monkeypatch.delenv("BENTOML_CONTAINERIZED", raising=False)
    if in_image:
        monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    write(tmp_path / "export", "packaged")
    params.write_json(tmp_path / "provenance.json", CHAIN | {"model_version": "packaged"})
    loaded: list[Path] = []

    def load(folder: Path) -> Scaling:
        loaded.append(folder)
        return Scaling(folder)

    served = Models(tmp_path, load, interface, lambda model: model.answer(2.0))
    assert len(loaded) == loads
    assert served.now.predictor.answer(2.0) == 2.0 and len(loaded) == 1


def test_nothing_deployed_yet_is_no_failure(place: Place) -> None:
    before = failures()
    place.models.look()
    assert place.version == "packaged" and failures() == before


def test_the_model_that_the_pointer_names_is_served_with_its_provenance(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.deploy("v1", factor=3.0)
    place.models.look()
    assert place.models.now.predictor.answer(2.0) == 6.0
    assert place.models.now.chain == CHAIN | {"model_version": "v1"}
    assert (served("packaged"), served("v1")) == (0, 1)
    place.deploy("v2", factor=4.0)
    place.models.look()
    place.models.look()
    place.point("v1")
    place.models.look()
    assert place.models.now.predictor.answer(2.0) == 6.0 and (served("v2"), served("v1")) == (0, 1)
    lines = [json.loads(line)["serves"] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["v1", "v2", "v1"]


def test_the_bento_in_the_provenance_is_the_one_that_runs(place: Place) -> None:
    folder = place.deploy("v1")
    params.write_json(folder / "provenance.json", CHAIN | {"model_version": "v1", "bento": "no:2"})
    place.models.look()
    assert place.models.now.chain["bento"] == "demo:1"


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def other_name(folder: Path) -> None:
    chain = params.read_json(folder / "provenance.json")
    params.write_json(folder / "provenance.json", chain | {"name": "another"})


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (lambda f: f.rename(f.with_name("x")), "No such file"),
    "no model.json": (lambda f: (f / "model.json").unlink(), "model.json"),
    "no provenance": (lambda f: (f / "provenance.json").unlink(), "provenance.json"),
    "provenance without version": (
        lambda f: params.write_json(f / "provenance.json", CHAIN),
        "model_version",
    ),
    "half of the graph": (lambda f: cut(f / "model.onnx", 0.5), "Protobuf"),
    "an empty graph": (lambda f: cut(f / "model.onnx", 0), "model"),
    "half of model.json": (lambda f: cut(f / "model.json", 0.5), "JSONDecodeError"),
    "an opset of tomorrow": (lambda f: write(f, "v1", opset=999), "opset"),
    "not a number": (lambda f: write(f, "v1", factor=np.nan), "not JSON compliant"),
    "other classes": (lambda f: write(f, "v1", classes=["a"]), "another classes; deploy a new B"),
    "other horizon": (lambda f: write(f, "v1", horizon=3), "another horizon; deploy a new Bento"),
    "another blueprint": (other_name, "another name; deploy a new Bento instead"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_is_refused_once_and_the_one_before_serves_on(
    place: Place, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.deploy("v0", factor=5.0)
    place.models.look()
    spoil, reason = BROKEN[name]
    spoil(place.deploy("v1"))
    before = failures()
    for _ in range(3):
        place.models.look()
    assert place.version == "v0" and place.models.now.predictor.answer(2.0) == 10.0
    assert failures() == before + 1 and served("v0") == 1
    _, line = capsys.readouterr().err.splitlines()
    assert reason in json.loads(line)["error"] and json.loads(line)["serves"] == "v0"
    write(place.live / "models/v1", "v1")  # mended, and deployed under the same name
    place.point("v1")
    place.models.look()
    assert place.version == "v1" and failures() == before + 1


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"../v1", b"/", b"a\0b", b"v1\nv2\n"])
def test_a_pointer_that_names_no_folder_is_refused(place: Place, content: bytes) -> None:
    write(place.live / "models/v1", "v1")
    before = failures()
    place.point(content)
    for _ in range(2):
        place.models.look()
    assert place.version == "packaged" and failures() == before + 1


def test_a_pointer_that_vanishes_or_is_a_folder_is_refused(place: Place) -> None:
    place.deploy("v1")
    place.models.look()
    before = failures()
    (place.live / "current").unlink()
    place.models.look()
    (place.live / "current").mkdir()
    for _ in range(2):
        place.models.look()
    assert place.version == "v1" and failures() == before + 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_pointer_that_may_not_be_read_is_refused_until_it_may(place: Place) -> None:
    place.deploy("v1")
    (place.live / "current").chmod(0)
    before = failures()
    for _ in range(2):
        place.models.look()
    assert place.version == "packaged" and failures() == before + 1
    (place.live / "current").chmod(0o600)
    place.models.look()
    assert place.version == "v1"


def test_a_request_in_progress_keeps_its_model_and_then_its_memory_is_given_back(
    place: Place,
) -> None:
    gc.collect()
    gc.freeze()
    gc.disable()  # as in a service
    try:
        packaged = weakref.ref(place.models.now.predictor)
        request = place.models.now
        place.deploy("v1", factor=3.0)
        place.models.look()
        assert request.predictor.answer(2.0) == 2.0 and packaged() is not None
        del request
        assert packaged() is None
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_the_memory_of_the_model_before_goes_back_to_the_system_a_look_later(place: Place) -> None:
    """Although a block in use, allocated after it, lies above it."""
    between = []

    def load(folder: Path) -> Scaling:
        model = Scaling(folder)
        if folder.name == "large":
            model.meta["weights"] = [b"x" * 100_000 for _ in range(1000)]
            between.append(b"x" * 100_000)
        return model

    def resident() -> float:
        return psutil.Process().memory_info().rss / 1e6

    place.models.load = load
    place.deploy("large")
    place.models.look()
    place.deploy("small")
    before = resident()
    place.models.look()
    assert place.version == "small" and resident() > before - 10
    place.models.look()
    assert resident() < before - 80


@pytest.mark.parametrize("what", ["load", "example"])
def test_the_old_model_answers_until_the_new_one_has_loaded_and_answered_its_example(
    place: Place, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(models, "EVERY_S", 0.01)
    begun, may_end = threading.Event(), threading.Event()
    usual = getattr(place.models, what)

    def slow(given: Any) -> Any:
        begun.set()
        assert may_end.wait(30)
        return usual(given)

    setattr(place.models, what, slow)

    async def work() -> None:
        watching = asyncio.create_task(place.models.watch())
        place.deploy("v1", factor=3.0)
        while not begun.is_set():
            await asyncio.sleep(0)
        assert place.version == "packaged"
        assert place.models.now.predictor.answer(2.0) == 2.0
        may_end.set()
        deadline = time.monotonic() + 30
        while place.version != "v1":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        watching.cancel()

    asyncio.run(work())
