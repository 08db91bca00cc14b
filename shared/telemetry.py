"""What Prometheus is told of a service's workers, on /metrics; and where traces go, if anywhere.

BentoML sets PROMETHEUS_MULTIPROC_DIR for its workers before they import anything, so that whichever
is asked answers for all. It empties that folder at its start: services that share a machine need a
BENTOML_HOME of their own each.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import prometheus_client
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

# Seconds. What objectives.yaml may ask for is among them: a quantile is exact at a boundary only.
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
STATUSES = ("2xx", "4xx", "5xx")
COUNTS = ("counter", "histogram")
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


def take_over() -> None:
    """Count on in the files of a killed worker, or each would leave its own behind for ever.

    Before the first metric is made, which opens them.
    """
    folder = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR") or os.devnull)
    for kind in COUNTS:
        mine = folder / f"{kind}_{os.getpid()}.db"
        for path in folder.glob(f"{kind}_*.db"):
            if not (mine.exists() or psutil.pid_exists(int(path.stem.rpartition("_")[2]))):
                with contextlib.suppress(FileNotFoundError):  # another worker was quicker
                    path.rename(mine)


take_over()
SECONDS = Histogram(
    "service_request_seconds",
    "From when a request came to the end of its answer, by route and class of status",
    ["path", "status"],
    buckets=BUCKETS,
)
IN_PROGRESS = Gauge(
    "service_requests_in_progress", "Requests being answered", multiprocess_mode="livesum"
)
UNANSWERED = Counter(
    "service_unanswered_total",
    "Requests that could not be answered: no valid answer, no place, no time",
    ["path", "status"],
)
DROPPED = Counter("service_log_dropped_total", "Records that the request log could not write")
MODEL = Gauge(
    "service_model_info", "1: served by a worker", ["model_version"], multiprocess_mode="livemax"
)
REFUSED = Counter("service_model_load_failed_total", "Models that were refused; the log says why")


def timers(paths: frozenset[str]) -> dict[tuple[str, str], Histogram]:
    """(path, class of status) -> where its seconds go; "other" for any path but `paths`.

    All exist from the start: Prometheus sees no increase in a series that begins with one.
    """
    names = [(path, status) for path in {*paths, "other"} for status in STATUSES]
    return {name: SECONDS.labels(*name) for name in names}


def unanswered(paths: frozenset[str]) -> dict[tuple[str, int], Counter]:
    """(path, status) -> what counts these; all exist from the start, too."""
    names = [(path, status) for path in {*paths, "other"} for status in (422, 429, 503, 504)]
    return {(path, status): UNANSWERED.labels(path, str(status)) for path, status in names}


def status_class(status: int) -> str:
    return "2xx" if status < 400 else "4xx" if status < 500 else "5xx"


def exposition() -> bytes:
    """The page of metrics: of all workers, where BentoML runs them."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return prometheus_client.generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    try:
        return prometheus_client.generate_latest(registry)
    except FileNotFoundError:  # of a worker that starts in this moment, see `take_over`
        return prometheus_client.generate_latest(registry)


def tracing() -> dict[str, Any]:
    """BentoML's settings: a span of each request, by OTLP to OTEL_EXPORTER_OTLP_ENDPOINT.

    Without that address there are none: they are half the time of a light request. Of requests that
    bring no `traceparent`, the share OTEL_TRACES_SAMPLER_ARG is traced, all of them by default.
    """
    address = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not address:
        return {"excluded_urls": ".*"}
    given = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        share = float(given)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise SystemExit(f"OTEL_TRACES_SAMPLER_ARG: {given!r} is not a share from 0 to 1")
    otlp = {"protocol": "http", "endpoint": f"{address.rstrip('/')}/v1/traces"}
    quiet = "/livez,/readyz,/healthz,/metrics"
    return {"exporter_type": "otlp", "otlp": otlp, "sample_rate": share, "excluded_urls": quiet}


def forget_dead_workers() -> None:
    """Take away the gauges of killed workers, which would say for ever what they said last."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    for path in Path(folder).glob("gauge_live*.db") if folder else []:
        if not psutil.pid_exists(int(path.stem.rpartition("_")[2])):
            path.unlink(missing_ok=True)  # another worker may be at it too
