"""Prometheus' page for several workers, some of which were killed; each is a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

WORKER = """
import signal, os
from shared import telemetry
telemetry.IN_PROGRESS.inc()
telemetry.MODEL.labels("v1").set(1)
telemetry.timers(frozenset({"/act"}))["/act", "2xx"].observe(0.03)
os.kill(os.getpid(), signal.SIGKILL)
"""
READER = """
from shared import telemetry
print("before", telemetry.exposition().decode())
telemetry.forget_dead_workers()
telemetry.MODEL.labels("v2").set(1)
print("after", telemetry.exposition().decode())
"""


def samples(page: str) -> dict[str, float]:
    return {key: float(value) for key, value in re.findall(r"^(\S+) (\S+)$", page, re.MULTILINE)}


def test_counts_of_killed_workers_stay_and_their_gauges_go(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WORKER], env=environment)
    done = subprocess.run(
        [sys.executable, "-c", READER], env=environment, capture_output=True, text=True, check=True
    )
    before, after = map(samples, done.stdout.split("after"))
    assert before["service_requests_in_progress"] == 2
    assert after["service_requests_in_progress"] == 0
    assert 'service_model_info{model_version="v1"}' not in after
    assert after['service_model_info{model_version="v2"}'] == 1
    for page in (before, after):
        name = 'service_request_seconds_bucket{le="%s",path="/act",status="2xx"}'
        assert page[name % "0.02"] == 0 and page[name % "0.05"] == page[name % "+Inf"] == 2
