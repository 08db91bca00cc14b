"""A model that was promoted on good evidence does worse on what follows: the former one is back.

The small blueprint of `shipped` with everything real around it: registry, service, monitor,
Prometheus, Alertmanager, actions.
"""

import argparse
import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import shipped
import yaml

from shared import audit, comparing, lineage, objectives, params, registry, releasing, retraining
from shared.benchmark import free_port
from shared.live import Ports, Stack, stack_of

# What it said against the truth that came; a model is its factor.
MONITOR = '''
"""Watches the error of the products."""

from shared import drift, monitoring

with monitoring.watch(__doc__, truth=float) as watch:
    for windows in watch.runs():
        for window in windows:
            _, factor = watch.files(window.model)
            errors = [abs(row["number"] * factor - row["truth"]) for row in window.rows]
            watch.record(window, {"live.error": drift.mean(errors)})
'''
TRUE, WORSE, WINDOW = 3.25, 2.0, 20
WATCHED = {"id": "KR3", "requirement": "R1", "metric": "live.error", "at_most": 0.5, "when": "live"}
WATCHED |= {"window": f"{WINDOW} labelled", "for": "2 of 3", "then": "rollback"}


@pytest.fixture
def app(folder: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder after a first release, whose model is champion."""
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "true")
    document["objectives"][0]["key_results"].append(WATCHED)
    shipped.write(folder, document)
    (folder / "monitor.py").write_text(MONITOR)
    params.write_json("reports/reference.json", {"live_metrics": ["live.error"]})
    registry.register()
    assert registry.promote(objectives.load())[0]
    return folder


@contextlib.contextmanager
def usual_traffic(stack: Stack) -> Iterator[Counter[tuple[int, str]]]:
    """Ten numbers a second with their truths, until the end; gives answers by status and model."""
    seen: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=stack.url("service"), trust_env=False, timeout=60) as client:
            for number in itertools.takewhile(
                lambda _: not stop.wait(0.1), itertools.cycle(range(9))
            ):
                answer = client.post("/multiply", json={"number": number})
                told = answer.json()
                truth = {"request_id": told["request_id"], "truth": number * TRUE}
                client.post("/feedback", json=truth).raise_for_status()
                seen[answer.status_code, told["model_version"]] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def promote_the_worse(stack: Stack) -> str:
    """A retraining that learnt from, and compared on, a few odd records; gives its version."""
    params.write_json("export/model.json", WORSE)
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"prepare": {"outs": ["odd"]}}}))
    registry.register()
    numbers = np.arange(40.0)
    ours, theirs = (np.abs(numbers * factor - numbers * WORSE) for factor in (WORSE, TRUE))
    champion = lineage.current(stack.live)
    about = {"live": stack.live, "champion": champion, "service": stack.url("service")}
    asked = argparse.Namespace(key_result="KR3", **about)
    return retraining.finish(asked, Path(), comparing.compare(ours, theirs, seed=0))


@pytest.mark.fault
def test_a_promoted_model_that_does_worse_live_is_rolled_back(app: Path, tools: None) -> None:
    live, name = app / "live", objectives.load().name

    def values() -> dict[str, Any]:
        path = live / "values.json"
        return {"KR3": {"windows": 0}} | (params.read_json(path) if path.exists() else {})

    def windows() -> int:
        return int(values()["KR3"]["windows"])

    def well() -> bool:
        return values()["KR3"]["breached"] is False and values()["live.error"] == 0

    with (
        stack_of(live, Ports(*[free_port() for _ in Ports._fields]), 1, 1, []) as stack,
        usual_traffic(stack) as seen,
    ):
        former = lineage.current(live)
        wait_for(lambda: windows() >= 3, "no window of the champion")
        assert audit.read(live) == [], "it does well"
        worse = promote_the_worse(stack)
        assert lineage.current(live) == worse != former and registry.champion(name) == "2"
        wait_for(lambda: "rolled_back" in [one["event"] for one in audit.read(live)], "served on")
        assert releasing.served(stack.url("service"), former, 30)
        wait_for(well, "the former champion does worse, too")
    told = [one for one in audit.read(live) if one["event"] != "resolved"]
    steps = ["challenger", "compared", "promoted", "served", "alert", "rolled_back"]
    assert [one["event"] for one in told] == steps
    alert, done = told[-2:]
    assert (alert["key_result"], alert["action"]) == ("KR3", "rollback")
    assert (done["incident"], done["version"], done["to"]) == (alert["incident"], worse, former)
    assert lineage.current(live) == former and registry.champion(name) == "1"
    assert seen.keys() == {(200, former), (200, worse)} and seen[200, worse] >= 2 * WINDOW
    assert values()["live.latency_p95_ms"] > 0 and values()["KR2"] == {"breached": False}
    with pytest.raises(audit.Refused, match="was rolled back before"):
        releasing.deploy(app / "export", live)
