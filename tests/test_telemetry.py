"""Prometheus' page for several workers, some of which were killed; traces of a real service."""

import http.server
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import shipped
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared import benchmark, packaging, telemetry

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


def test_killed_workers_leave_no_more_files_than_one(tmp_path: Path) -> None:
    """Goal S11: whoever starts counts on where a killed one was, in its file."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    workers = 5
    forgetful = WORKER.replace("telemetry.IN", "telemetry.forget_dead_workers()\ntelemetry.IN")
    for _ in range(workers):
        subprocess.run([sys.executable, "-c", forgetful], env=environment)
        assert len(list(tmp_path.iterdir())) == 4, "counter, histogram, and two gauges"
    done = subprocess.run(
        [sys.executable, "-c", READER], env=environment, capture_output=True, text=True, check=True
    )
    for page in map(samples, done.stdout.split("after")):
        assert page['service_request_seconds_count{path="/act",status="2xx"}'] == workers


def test_the_files_of_a_worker_that_lives_are_its_own(tmp_path: Path) -> None:
    """Of two that start while a third lives, each takes over one of two that are dead."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    waits = WORKER.replace("os.kill", "print(flush=True), input(), os.kill")

    def start() -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        found = subprocess.Popen(
            [sys.executable, "-c", waits], env=environment, stdin=pipe, stdout=pipe
        )
        assert found.stdout and found.stdout.readline()
        return found

    def counts() -> set[str]:
        return {path.stem.rpartition("_")[2] for path in tmp_path.glob("histogram_*.db")}

    living = [start() for _ in range(3)]
    for one in living[:2]:
        one.communicate(b"\n")
    assert counts() == {str(one.pid) for one in living}
    living = [living[2], start(), start()]
    assert counts() == {str(one.pid) for one in living}
    for one in living:
        one.communicate(b"\n")


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans as an OpenTelemetry collector does."""

    received: list[tuple[str, str]]  # trace, name

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                found = [(span.trace_id.hex(), span.name) for span in scope.spans]
                self.received.extend(found)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_traces_go_to_a_collector_once_it_is_named(
    folder: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    """Those that a caller asks for: its share of others is 0."""
    shipped.write(folder, document)
    packaging.assemble(folder, folder / "build")
    Collector.received = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port, trace = benchmark.free_port(), "ab" * 16
    own = os.environ | {"BENTOML_HOME": str(tmp_path / "store"), "OTEL_TRACES_SAMPLER_ARG": "0"}
    own |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    command = [sys.executable, "-m", "bentoml", "serve", "service", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with benchmark.running(
        command, url + "/readyz", tmp_path / "log", cwd=folder / "build", env=own
    ):
        for headers in ({}, {"traceparent": f"00-{trace}-{'cd' * 8}-01"}):
            headers |= {"content-type": "application/json"}
            asked = urllib.request.Request(url + "/multiply", b'{"number": 2}', headers)
            urllib.request.urlopen(asked, timeout=30).read()
        deadline = time.monotonic() + 60
        while not Collector.received:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
    server.shutdown()
    assert {found for found, _ in Collector.received} == {trace}
    assert any(name.startswith("POST") for _, name in Collector.received), Collector.received


def test_traces_are_off_and_their_share_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert telemetry.tracing() == {"excluded_urls": ".*"}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")
    assert telemetry.tracing()["otlp"]["endpoint"] == "http://collector:4318/v1/traces"
    for wrong in ("2", "-0.1", "nan", "half"):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", wrong)
        with pytest.raises(SystemExit, match=f"OTEL_TRACES_SAMPLER_ARG: '{wrong}'"):
            telemetry.tracing()
