"""A Grafana dashboard: key results with their targets, service, machine, model.

Written as Grafana's own JSON; it takes whichever Prometheus data source is chosen on the page.
"""

from typing import Any

from shared.alerting import query, series
from shared.objectives import KeyResult, Objectives

UNITS = {"_ms": "ms", "_share": "percentunit", "_per_s": "reqps"}
PER_ROW, WIDTH, HEIGHT = 3, 8, 8  # Grafana's grid has 24 columns


def dashboard(loaded: Objectives) -> dict[str, Any]:
    panels = [_key_result(loaded, result) for result in loaded.live]
    panels += _service(loaded.name) + _machine(loaded.name)
    for number, one in enumerate(panels):
        down, right = divmod(number, PER_ROW)
        place = {"x": right * WIDTH, "y": down * HEIGHT, "w": WIDTH, "h": HEIGHT}
        one |= {"id": number + 1, "gridPos": place}
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource"}
    return {
        "uid": loaded.name[:40],  # Grafana's limit
        "title": loaded.name,
        "description": loaded.problem.strip(),
        "tags": ["key results", loaded.ai_type],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source | {"query": "prometheus"}]},
        "panels": panels,
    }


def _key_result(loaded: Objectives, result: KeyResult) -> dict[str, Any]:
    """Green where the target holds, red beyond it; the target stays in view."""
    (asked,) = [one for one in loaded.requirements if one.id == result.requirement]
    ends = [f"{result.window}, " if result.window else "", f"{result.hold}, then {result.then}"]
    unit = next((unit for end, unit in UNITS.items() if result.metric.endswith(end)), "short")
    one = panel(
        f"{result.id} {result.metric} {result.target}",
        {result.metric: query(result.metric, loaded.name)},
        unit,
        f"{asked.text} ({asked.owner}). Missed: {''.join(ends)}.",
    )
    colours = ("green", "red") if result.at_least is None else ("red", "green")
    steps = [{"color": colours[0], "value": None}, {"color": colours[1], "value": result.limit}]
    one["fieldConfig"]["defaults"] |= {
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": {
            "thresholdsStyle": {"mode": "line"},
            "axisSoftMin": result.limit,
            "axisSoftMax": result.limit,
        },
    }
    return one


def _service(service: str) -> list[dict[str, Any]]:
    counted = series("service_request_seconds_count", service)
    quantiles = {name: query(f"live.latency_{name}_ms", service) for name in ("p50", "p95", "p99")}
    unanswered = series("service_unanswered_total", service)
    active = f"sum({series('service_requests_in_progress', service)})"
    return [
        panel("Requests", {"{{status}}": f"sum by (status) (rate({counted}[5m]))"}, "reqps"),
        panel("Latency", quantiles, "ms"),
        panel("Unanswered", {"{{status}}": f"sum by (status) (rate({unanswered}[5m]))"}, "reqps"),
        panel("Requests in progress", {"in progress": active}, "short"),
    ]


def _machine(service: str) -> list[dict[str, Any]]:
    share = {"{{process}}": series("monitor_processor_share", service)}
    share |= {"GPU {{gpu}}": series("monitor_gpu_share", service)}
    memory = {"{{process}}": series("monitor_memory_bytes", service)}
    version = f"max by (model_version) ({series('service_model_info', service)})"
    model = panel("Model", {"{{model_version}}": version}, "short", kind="stat")
    model["options"] = {"textMode": "name"}
    return [
        panel("Processor", share, "percentunit"),
        panel("Memory", memory, "bytes"),
        panel("Request log", {"bytes": series("monitor_log_bytes", service)}, "bytes"),
        model,
    ]


def panel(
    title: str, queries: dict[str, str], unit: str, description: str = "", kind: str = "timeseries"
) -> dict[str, Any]:
    """queries: legend -> PromQL."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": chr(65 + i), "datasource": source, "expr": expression, "legendFormat": legend}
            for i, (legend, expression) in enumerate(queries.items())
        ],
    }
