"""rules_test.yml: `promtool test rules` of every generated alert: it fires, is silent, has no data.

Made from objectives.yaml and not from the rules, so that a mistake in a rule is not tested with
itself. Series have one sample a minute; 0+60x5 is promtool's for 0, 60, ... 300.
"""

import math
from typing import Any

from shared import alerting
from shared.alerting import series
from shared.objectives import KeyResult, Objectives

Series = dict[str, str]  # selector -> values
LATENCY, ERRORS = "live.latency_p", "live.error_share"


def tests(loaded: Objectives) -> dict[str, Any]:
    """Three tests of each alert: fires, is silent, has no data but those of another service."""
    found = [test for result in loaded.live for test in _of_result(loaded, result)]
    return {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": found + _of_watchdogs(loaded.name),
    }


def _of_result(loaded: Objectives, result: KeyResult) -> list[dict[str, Any]]:
    name, service = alerting.alert_name(loaded.name, result), loaded.name
    missing, holding = examples(result)
    labels = alerting.labels(service, result.then, key_result=result.id, metric=result.metric)
    alert = {
        "exp_labels": labels,
        "exp_annotations": alerting.annotations(loaded, result, f"{missing:.4g}"),
    }
    if result.count:
        fires, last = _windows(service, result, "0x4 1x4 0x4", missing), 14
        when = {3: [], 6: [alert], 12: []}
        silent = _windows(service, result, "0x14", holding)
    else:
        last = math.ceil((result.seconds or 0) / 60) + 2
        fires = _requests(service, result.metric, missing, last)
        when = {1: [], last: [alert]}  # at first it only waits for `for` to pass
        silent = _requests(service, result.metric, holding, last)
        silent |= _requests(service, result.metric, missing, last, path="/feedback")
    other = {key.replace(f'"{service}"', '"another"'): values for key, values in fires.items()}
    return [
        _test(name, "fires", fires, when),
        _test(name, "is silent", silent, {last: []}),
        _test(name, "has no data", other, {minute: [] for minute in when}),
    ]


def examples(result: KeyResult) -> tuple[float, float]:
    """A value that misses the target and one that holds it; SystemExit when nothing can miss it."""
    above = result.limit + (abs(result.limit) / 2 or 0.5)
    below = result.limit - (abs(result.limit) / 2 or 0.5)
    if not result.count:  # what the service measures is never negative
        below = max(0.0, below)
    if result.metric == ERRORS:
        above = min(above, (result.limit + 1) / 2)
    above, below = (float(f"{value:.3g}") for value in (above, below))
    missing, holding = (above, below) if result.at_least is None else (below, above)
    if result.holds(missing):
        raise SystemExit(f"{result.id}: no {result.metric} can miss the target {result.target}")
    return missing, holding


def _windows(service: str, result: KeyResult, breached: str, value: float) -> Series:
    return {
        series("live_key_result_breached", service, key_result=result.id): breached,
        series("live_metric", service, metric=result.metric): f"{value}x14",
    }


def _requests(service: str, metric: str, value: float, last: int, path: str = "/ask") -> Series:
    """Requests by which the service's own `metric` has this value."""

    def grows(by: float) -> str:
        return f"0+{by:.9f}x{last}"

    if metric.startswith(LATENCY):
        share = int(metric.removeprefix(LATENCY).removesuffix("_ms")) / 100
        bound = repr(value / share / 1000)  # all lie below: Prometheus interpolates from 0
        name, of = "service_request_seconds_bucket", {"path": path, "status": "2xx"}
        return {series(name, service, le=le, **of): grows(60) for le in (bound, "+Inf")}
    name = "service_request_seconds_count"
    if metric == ERRORS:
        shares = {"5xx": value, "2xx": 1 - value}
        return {series(name, service, path=path, status=s): grows(v) for s, v in shares.items()}
    return {series(name, service, path=path, status="2xx"): grows(60 * value)}


def _of_watchdogs(service: str) -> list[dict[str, Any]]:
    summaries, another = alerting.summaries(service), "another"
    ran, up = "monitor_last_run_timestamp_seconds", "up"

    def alert(name: str, **more: str) -> dict[str, Any]:
        action = "ticket" if name == "LogDropping" else "page"
        labels = alerting.labels(service, action) | more
        return {"exp_labels": labels, "exp_annotations": {"summary": summaries[name]}}

    dead, down = alert("MonitorDead"), alert("ServiceDown", job="service")
    dropped = "service_log_dropped_total"
    lost, lost_there = (series(dropped, name) for name in (service, another))
    up_of = {name: series(up, name, job="service") for name in (service, another)}
    stopped = {9: [], 10: [dead]}
    return [
        _test("MonitorDead", "fires", {series(ran, service): "0x20"}, stopped),
        _test("MonitorDead", "is silent", {series(ran, service): "0+60x20"}, {20: []}),
        _test("MonitorDead", "has no data", {series(ran, another): "0+60x20"}, {0: [], 1: [dead]}),
        _test("ServiceDown", "fires", {up_of[service]: "1x4 0x5"}, {5: [], 6: [down]}),
        _test("ServiceDown", "is silent", {up_of[service]: "1x9"}, {9: []}),
        _test("ServiceDown", "has no data", {up_of[another]: "1x9"}, {0: [], 1: [down]}),
        _test("LogDropping", "fires", {lost: "0x5 3x9"}, {5: [], 6: [alert("LogDropping")]}),
        _test("LogDropping", "is silent", {lost: "3x9"}, {9: []}),
        _test("LogDropping", "has no data", {lost_there: "0x5 3x9"}, {6: []}),
    ]


def _test(
    alert: str, what: str, given: Series, expected: dict[int, list[dict[str, Any]]]
) -> dict[str, Any]:
    """expected: minute -> the alerts that fire then."""
    return {
        "name": f"{alert} {what}",
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in given.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": found}
            for minute, found in expected.items()
        ],
    }
