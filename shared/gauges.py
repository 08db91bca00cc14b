"""What Prometheus reads from the monitor: key results, feedback, use of the machine."""

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Gauge


class Gauges:
    """All of the monitor; see `update`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make: dict[str, Any] = {"registry": self.registry}
        self.metric = Gauge("live_metric", "of the newest window", ["metric"], **make)
        told = "1 when n of the last m windows miss the target"
        self.breached = Gauge("live_key_result_breached", told, ["key_result"], **make)
        self.windows = Gauge("live_key_result_windows_total", "complete", ["key_result"], **make)
        self.last_run = Gauge("monitor_last_run_timestamp_seconds", "end of a run", **make)
        self.feedback = Gauge("monitor_feedback_total", "truths read", ["outcome"], **make)
        self.log_bytes = Gauge("monitor_log_bytes", "of the service's logs", **make)
        self.usage = Usage(self.registry)

    def update(
        self, values: dict[str, Any], counts: dict[str, int], logs: Path, service: str
    ) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                self.breached.labels(name).set(value["breached"])
                self.windows.labels(name).set(value["windows"])
            elif value is not None:
                self.metric.labels(name).set(value)
        for outcome, number in counts.items():
            self.feedback.labels(outcome).set(number)
        self.log_bytes.set(sum(size(part) for part in logs.glob("*.jsonl")))
        self.usage.update(service, logs)
        self.last_run.set_to_current_time()


def size(file: Path) -> int:
    """In bytes; 0 when the service has just taken the file away, as its oldest."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


class Usage:
    """Shares are of all cores, 0 to 1; since the last update."""

    def __init__(self, registry: CollectorRegistry) -> None:
        make: dict[str, Any] = {"registry": registry}
        told = "of all cores"
        self.processor = Gauge("monitor_processor_share", told, ["process"], **make)
        self.memory = Gauge("monitor_memory_bytes", "resident", ["process"], **make)
        self.disk = Gauge("monitor_disk_free_bytes", "where the logs are", **make)
        self.gpu: Gauge | None = None
        if shutil.which("nvidia-smi"):
            self.gpu = Gauge("monitor_gpu_share", "of its time busy", ["gpu"], **make)
        self.known: dict[int, psutil.Process] = {}

    def update(self, service: str, logs: Path) -> None:
        """service: a piece of the command line by which its first process is known.

        Where none is seen, as from another container, nothing is said of the service.
        """
        processes = self._processes(service)
        cores = psutil.cpu_count() or 1
        busy = memory = 0.0
        for process in processes:
            try:
                busy += process.cpu_percent() / 100 / cores
                memory += process.memory_info().rss
            except psutil.Error:  # it has just ended
                self.known.pop(process.pid, None)
        for gauge, value in ((self.processor, busy), (self.memory, memory)):
            if processes:
                gauge.labels("service").set(value)
            else:
                gauge.remove("service")
        self.processor.labels("machine").set(psutil.cpu_percent() / 100)
        self.memory.labels("machine").set(psutil.virtual_memory().used)
        with contextlib.suppress(FileNotFoundError):  # before the service's first start
            self.disk.set(psutil.disk_usage(str(logs)).free)
        if self.gpu:
            for number, share in enumerate(gpu_shares()):
                self.gpu.labels(str(number)).set(share)

    def _processes(self, service: str) -> list[psutil.Process]:
        """With its workers; the same objects as before, as a share is from one call to the next."""
        now = {}
        for first in psutil.process_iter(["cmdline"]):
            line = " ".join(first.info["cmdline"] or [])
            if service in line and "bentoml" in line:
                with contextlib.suppress(psutil.Error):  # it has just ended
                    for process in [first, *first.children(recursive=True)]:
                        now[process.pid] = self.known.get(process.pid, process)
        self.known = now
        return list(now.values())


def gpu_shares() -> list[float]:
    """Of each GPU; none where nvidia-smi does not answer."""
    asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout
        return [float(line) / 100 for line in lines.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
