"""What Prometheus says of a service, as the monitor shows it, from a server that says it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from shared import alerting, monitoring, objectives, params, prometheus, report
from shared.benchmark import free_port

LATENCY = alerting.query("live.latency_p95_ms", "demo")
FIRING = 'ALERTS{service="demo",alertname="DemoKR2",alertstate="firing"}'
ERRORS = {"id": "KR3", "requirement": "R2", "metric": "live.error_share", "at_most": 0.01}
ERRORS |= {"when": "live", "for": "5m", "then": "page"}


@pytest.fixture
def loaded(
    tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> objectives.Objectives:
    document["objectives"][0]["key_results"].append(ERRORS)
    (tmp_path / "objectives.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.chdir(tmp_path)
    return objectives.load()


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, str]]]:
    """Its address, and the value of each query that has one."""
    values: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (query,) = parse_qs(urlsplit(self.path).query)["query"]
            rows = [{"metric": {}, "value": [0, values[query]]}] if query in values else []
            body = json.dumps({"status": "success", "data": {"result": rows}}).encode()
            self.send_response(200 if self.path.startswith("/api/v1/query?") else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}", values
    found.shutdown()
    found.server_close()


def test_values_are_those_of_the_alert_rules_and_verdicts_those_of_the_alerts(
    loaded: objectives.Objectives, server: tuple[str, dict[str, str]]
) -> None:
    url, values = server
    values |= {LATENCY: "12.5", alerting.query("live.error_share", "demo"): "NaN"}
    assert prometheus.observed(loaded, url) == {
        "live.latency_p95_ms": 12.5,
        "KR2": {"breached": False},
    }, "no request, no share of errors"
    values |= {FIRING: "1"}
    assert prometheus.observed(loaded, url)["KR2"] == {"breached": True}


def test_without_prometheus_or_where_another_answers_nothing_is_known(
    loaded: objectives.Objectives, server: tuple[str, dict[str, str]]
) -> None:
    assert prometheus.observed(loaded, f"http://127.0.0.1:{free_port()}") == {}
    assert prometheus.observed(loaded, f"{server[0]}/elsewhere") == {}


def test_report_and_page_show_what_the_service_measures_itself(
    loaded: objectives.Objectives, server: tuple[str, dict[str, str]]
) -> None:
    url, values = server
    values |= {LATENCY: "12.5", FIRING: "1"}
    params.write_json("metrics.json", {"test": {"auc": 0.95}})
    report.gate(Path())
    with monitoring.watch("", ["--prometheus", url]) as watch:
        for _ in watch.runs():
            pass
    report.report(Path())
    text = Path("reports/objectives.md").read_text()
    seen = "| <= 50 | 12.5 | FAIL | in production; on a miss: page |"
    assert f"| KR2 | R2 | `live.latency_p95_ms` {seen}" in text
    assert "| KR3 | R2 | `live.error_share` | <= 0.01 | - | live |" in text
    page = Path("live/report.html").read_text()
    assert '<div class="card bad"><p>KR2 fast</p><b>12.5</b> live.latency_p95_ms' in page
    assert '<div class="card "><p>KR3 fast</p><b>not known</b> live.error_share' in page
    gauges = [one.name for one in watch.metrics.registry.collect() if one.samples]
    assert "live_metric" not in gauges, "Prometheus is not told what it said"


def test_an_address_without_its_scheme_is_refused(
    loaded: objectives.Objectives, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), monitoring.watch("", ["--prometheus", "localhost:9090"]):
        pass
    assert "'localhost:9090' does not begin with http:// or https://" in capsys.readouterr().err
