"""An update killed at any moment leaves the model before or the new one in service, never none."""

import contextlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import updating
from test_archives import TOKEN, served
from updating import Device

from shared import attempts, bundles, container, lineage
from shared.models import Models

pytestmark = pytest.mark.fault
STATES = ["checking", "trying", "keeping", "self-test", "switching", "confirming", "installed"]
OLD, NEW = 2.0, 4.0
MOMENTS = 20


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    folder, objectives = tmp_path_factory.mktemp("device"), {"name": "demo"}
    made = Device(folder / "one", objectives | OBJECTIVES, memory_mb=500)
    (made.folder / "app").mkdir()
    (made.folder / "app/service").symlink_to(made.service)
    return made


OBJECTIVES: dict[str, Any] = {
    "ai_type": "cv",
    "problem": "Multiply.",
    "requirements": [{"id": "R1", "kind": "nfr", "text": "right", "owner": "us"}],
    "objectives": [
        {
            "objective": "Right",
            "key_results": [
                {
                    "id": "K",
                    "requirement": "R1",
                    "metric": "test.a",
                    "at_least": 1,
                    "when": "release",
                }
            ],
        }
    ],
    "architecture": {"model": {"chosen": "one", "rejected": []}, "patterns": []},
}


class Asking:
    """A client that asks the service all the time and keeps all answers."""

    def __init__(self, url: str) -> None:
        self.url, self.products, self.ended = url, list[Any](), threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def ask(self) -> None:
        while not self.ended.wait(0.01):
            status, answer = container.request(self.url + "/multiply", TOKEN, b'{"number": 1}')
            self.products.append(answer["product"] if status == 200 else status)

    def __enter__(self) -> "Asking":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join(30)


@contextlib.contextmanager
def service(device: Device) -> Iterator[str]:
    with served(device.folder / "app", MODEL_POINTER=str(device.live / "current")) as url:
        yield url


def killed_at(process: "subprocess.Popen[str]", when: str | float) -> None:
    """End it without warning when it says that it begins a state, or after so many seconds."""
    assert process.stderr is not None
    if isinstance(when, str):
        for line in process.stderr:
            if json.loads(line) == {"update": when}:
                process.kill()
    else:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(when)
        process.kill()
    process.wait()


def whole(device: Device) -> float:
    """What a service that starts now would serve: a model whose files are all as signed."""
    name = lineage.current(device.live)
    assert name is not None and bundles.intact(device.live / "models" / name)
    load = lambda folder: json.loads((folder / "model.json").read_text())  # noqa: E731
    models = Models(device.service, load, lambda model: {}, lambda model: model)
    return float(models.tried(device.live / "models" / name).predictor)


def test_killed_in_every_state_and_at_any_moment_a_model_serves(device: Device) -> None:
    """One service runs through all of it; each kill hits another update."""
    begin = time.monotonic()
    assert device.begin(device.sign("old", OLD, 1)).wait() == 0
    seconds = time.monotonic() - begin
    kills = [*STATES, *(random.uniform(0, seconds) for _ in range(MOMENTS))]
    renewed: dict[Any, bool] = {}
    with service(device) as url, Asking(url) as client:
        for number, when in enumerate(kills, 2):
            before, factor = device.serves, NEW + number
            bundle = device.sign(f"v{number}", factor, number)
            killed_at(device.begin(bundle), when)
            served = whole(device)
            assert served in (before, factor), when
            renewed[when] = served == factor
            if when in STATES:
                assert device.install(bundle) == f"v{number}", "what was cut off is finished"
                assert whole(device) == factor
    factors = {OLD, *(NEW + number for number in range(2, len(kills) + 2))}
    assert len(client.products) > 100 and set(client.products) <= factors
    assert not any(renewed[state] for state in ("checking", "trying", "keeping"))
    assert renewed["confirming"] and renewed["installed"]
    assert len(list((device.live / "models").iterdir())) <= lineage.KEPT + 2  # cut off, whole


@pytest.fixture(scope="module")
def usual(device: Device) -> float:
    """Seconds until a service answers that no kill came before."""
    begin = time.monotonic()
    with service(device):
        return time.monotonic() - begin


@pytest.mark.parametrize("state", STATES)
def test_a_service_that_starts_after_a_kill_serves(
    device: Device, usual: float, state: str
) -> None:
    """Within 10 s, or three times the usual where every start takes long."""
    number = 100 + STATES.index(state)
    before = device.serves if lineage.current(device.live) else 3.25
    killed_at(device.begin(device.sign(f"v{number}", float(number), number)), state)
    begin = time.monotonic()
    with service(device) as url:
        status, answer = container.request(url + "/multiply", TOKEN, b'{"number": 1}')
        seconds = time.monotonic() - begin
    assert status == 200 and answer["product"] in (before, float(number))
    assert seconds < max(10, 3 * usual)


@pytest.mark.parametrize("state", ["trying", "self-test", "switching"])
def test_an_update_that_is_killed_each_time_is_given_up(device: Device, state: str) -> None:
    number = 1000 + STATES.index(state)
    bundle, before = device.sign(f"fatal{number}", 9.0, number), device.serves
    for _ in range(3):
        killed_at(device.begin(bundle), state)
    for _ in range(2):
        done = device.begin(bundle)
        _, said = done.communicate()
        assert done.returncode == 1 and said.splitlines()[-1].endswith(
            f"fatal{number} was tried 3 times and is given up: it did not come to its end"
        )
    tries = [one for one in attempts.remembered(device.live) if one.get("sequence") == number]
    assert [one["event"] for one in tries].count("trying") == 3
    assert device.serves == before != 9.0


def test_two_updates_at_once_take_turns(device: Device) -> None:
    first, second = device.sign("x1", 11.0, 2000), device.sign("x2", 12.0, 2001)
    processes = [device.begin(bundle) for bundle in (first, second)]
    said = [process.communicate() for process in processes]
    assert processes[1].returncode == 0, said[1]
    assert processes[0].returncode == 0 or "not above 2001" in said[0][1]
    assert whole(device) == 12.0
    assert updating.manifest(second, device).folder == lineage.current(device.live)
