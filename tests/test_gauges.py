"""What the monitor says of the machine: the service with its workers, disk, files that vanish."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry

from shared import gauges

# A process as `bentoml serve --port 4711` is: it answers through one that it has started.
PARENT = """
import subprocess, sys
child = "x = bytearray(60_000_000); input()"
subprocess.run([sys.executable, "-c", child], stdin=sys.stdin)
"""


def usage(name: str, registry: CollectorRegistry, process: str = "service") -> float | None:
    return registry.get_sample_value(name, {"process": process})


def test_a_service_is_counted_with_its_workers_and_is_not_known_elsewhere(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    measured = gauges.Usage(registry)
    measured.update("--port 4711", tmp_path)
    assert usage("monitor_memory_bytes", registry) is None
    assert (usage("monitor_memory_bytes", registry, "machine") or 0) > 0
    command = [sys.executable, "-c", PARENT, "bentoml", "serve", "--port", "4711"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        deadline = time.monotonic() + 60
        while (usage("monitor_memory_bytes", registry) or 0) < 60e6:
            assert time.monotonic() < deadline
            measured.update("--port 4711", tmp_path)
        assert psutil.Process(parent.pid).memory_info().rss < 60e6, "it is the worker's"
    measured.update("--port 4711", tmp_path)
    assert usage("monitor_memory_bytes", registry) is None
    assert usage("monitor_processor_share", registry) is None


def test_the_free_disk_is_that_of_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = psutil.disk_usage
    monkeypatch.setattr(psutil, "disk_usage", lambda place: asked.append(place) or real(place))
    registry = CollectorRegistry()
    gauges.Usage(registry).update("none", tmp_path / "not yet")
    gauges.Usage(CollectorRegistry()).update("none", tmp_path)
    assert asked == [str(tmp_path / "not yet"), str(tmp_path)]


def test_a_part_of_the_log_that_has_just_gone_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("12345")
    assert gauges.size(tmp_path / "there") == 5 and gauges.size(tmp_path / "gone") == 0
