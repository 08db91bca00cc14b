"""Alert rules from live key results, and what takes them from the metrics to the actions.

    query(...)         PromQL of a live metric
    rules(...)         rules.yml: one per live key result; monitor dead, service down, log dropping
    prometheus(...)    prometheus.yml: what is read how often, where alerts go
    alertmanager(...)  alertmanager.yml: alerts go to the actions server, critical ones to people

Every query asks for one service by its label, so that several share one Prometheus.
"""

import argparse
import json
from typing import Any

from shared.objectives import KeyResult, Objectives

# Requests of the model only: others are many and quick, and would hide the few slow ones. Nor does
# it say how long the model takes that a request was refused (4xx).
ASKED = 'path!~"/info|/feedback|other"'
SEVERITY = {"page": "critical"}  # all other actions: warning


def series(name: str, service: str, *matchers: str, **labels: str) -> str:
    """A selector, e.g. live_metric{service="demand-forecast",metric="live.mase"}."""
    equal = [f"{key}={json.dumps(value)}" for key, value in ({"service": service} | labels).items()]
    return f"{name}{{{','.join([*equal, *matchers])}}}"


def query(metric: str, service: str) -> str:
    """The metric's value now; what the service measures itself: over the last five minutes."""
    if metric.startswith("live.latency_p"):
        buckets = series("service_request_seconds_bucket", service, ASKED, 'status!="4xx"')
        share = int(metric.removeprefix("live.latency_p").removesuffix("_ms")) / 100
        return f"1000 * histogram_quantile({share:g}, sum by (le) (rate({buckets}[5m])))"
    counted = "service_request_seconds_count"
    rate = f"sum(rate({series(counted, service, ASKED)}[5m]))"
    if metric == "live.requests_per_s":
        return rate
    if metric == "live.error_share":
        failed = f"sum(rate({series(counted, service, ASKED, status='5xx')}[5m]))"
        return f"({failed} or vector(0)) / {rate}"
    return series("live_metric", service, metric=metric)


def alert_name(service: str, result: KeyResult) -> str:
    return "".join(part.capitalize() for part in service.split("-")) + result.id


def labels(service: str, action: str | None, **more: str) -> dict[str, str]:
    chosen = {"action": str(action), "severity": SEVERITY.get(str(action), "warning")}
    return {"service": service, **more, **chosen}


def annotations(loaded: Objectives, result: KeyResult, measured: str) -> dict[str, str]:
    """What people read; `measured` is a template in the rule, a number in its test."""
    windows = f"in {result.hold} windows of {result.window}"
    missed = windows if result.count else f"for {result.hold}"
    (asked,) = [one for one in loaded.requirements if one.id == result.requirement]
    return {
        "summary": f"{result.metric} is {measured}, target {result.target}, missed {missed}",
        "requirement": asked.text,
        "owner": asked.owner,
    }


def rule(loaded: Objectives, result: KeyResult) -> dict[str, Any]:
    """The alert of one live key result; the monitor itself counts n of m windows."""
    value = query(result.metric, loaded.name)
    if result.count:
        breached = series("live_key_result_breached", loaded.name, key_result=result.id)
        condition = {"expr": f"{breached} == 1"}
        number = '{{ . | first | value | printf "%.4g" }}'
        measured = f"{{{{ with query `{value}` }}}}{number}{{{{ else }}}}unknown{{{{ end }}}}"
    else:
        sign = ">" if result.at_least is None else "<"
        limit = repr(result.limit).removesuffix(".0")
        condition = {"expr": f"{value} {sign} {limit}", "for": str(result.hold)}
        measured = '{{ $value | printf "%.4g" }}'
    plain = annotations(loaded, result, "{measured}")
    plain = {key: text.replace("{{", '{{ "{{" }}') for key, text in plain.items()}
    plain["summary"] = plain["summary"].replace("{measured}", measured)
    return {
        "alert": alert_name(loaded.name, result),
        **condition,
        "labels": labels(loaded.name, result.then, key_result=result.id, metric=result.metric),
        "annotations": plain,
    }


def watchdogs(service: str) -> list[dict[str, Any]]:
    """What no key result asks for, because without it none is measured."""
    last = series("monitor_last_run_timestamp_seconds", service)
    up = series("up", service, job="service")
    dropped = series("service_log_dropped_total", service)
    told = {
        "MonitorDead": (f"absent({last}) or time() - {last} > 480", "1m", "page"),
        "ServiceDown": (f"{up} == 0 or absent({up})", "1m", "page"),
        "LogDropping": (f"sum(increase({dropped}[5m])) > 0", "0s", "ticket"),
    }
    return [
        {
            "alert": name,
            "expr": expression,
            "for": hold,
            "labels": labels(service, action),
            "annotations": {"summary": summaries(service)[name]},
        }
        for name, (expression, hold, action) in told.items()
    ]


def summaries(service: str) -> dict[str, str]:
    return {
        "MonitorDead": f"no run of the monitor of {service} for 10 minutes: key results are unseen",
        "ServiceDown": f"{service} does not answer Prometheus",
        "LogDropping": f"{service} cannot write its request log: key results miss these records",
    }


def rules(loaded: Objectives) -> dict[str, Any]:
    found = [rule(loaded, result) for result in loaded.live] + watchdogs(loaded.name)
    return {"groups": [{"name": loaded.name, "rules": found}]}


def prometheus(loaded: Objectives, asked: argparse.Namespace) -> dict[str, Any]:
    """asked: addresses host:port, `interval` of reading, e.g. 5s; see compiling.options."""
    token = {"authorization": {"credentials_file": asked.token_file}} if asked.token_file else {}
    service = {"service": loaded.name}
    return {
        "global": {"scrape_interval": asked.interval, "evaluation_interval": asked.interval},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [asked.alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "service", "static_configs": [_target(asked.service, service)], **token},
            {"job_name": "monitor", "static_configs": [_target(asked.monitor, service)]},
        ],
    }


def _target(address: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"targets": [address], "labels": labels}


def alertmanager(asked: argparse.Namespace) -> dict[str, Any]:
    """The actions server gets every alert, and when it ends; people get the critical ones."""
    webhook: dict[str, Any] = {"url": f"http://{asked.actions}/alerts", "send_resolved": True}
    if asked.actions_token_file:
        token = {"authorization": {"credentials_file": asked.actions_token_file}}
        webhook["http_config"] = token
    receivers: list[dict[str, Any]] = [{"name": "actions", "webhook_configs": [webhook]}]
    route: dict[str, Any] = {
        "receiver": "actions",
        "group_by": ["alertname"],
        "group_wait": "5s",
        "group_interval": "30s",
        "repeat_interval": "4h",
    }
    if not asked.email:
        return {"route": route, "receivers": receivers}
    mail = {"to": asked.email, "from": asked.email, "smarthost": asked.smarthost}
    mail |= {"send_resolved": True}
    receivers += [{"name": "people", "webhook_configs": [webhook], "email_configs": [mail]}]
    route["routes"] = [{"matchers": ['severity="critical"'], "receiver": "people"}]
    return {"route": route, "receivers": receivers}
