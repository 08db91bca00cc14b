"""Compiled rules before promtool and amtool, and in a real Prometheus and Alertmanager."""

import argparse
import contextlib
import http.server
import itertools
import json
import queue
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, start_http_server

from shared import alerttests, benchmark, compiling, gauges, inbox, objectives, params, telemetry

ROOT = Path(__file__).parent.parent
BLUEPRINTS = sorted(path.parent for path in ROOT.glob("blueprints/*/objectives.yaml"))
COMPILE = ["python", "-m", "shared.objectives", "compile"]


pytestmark = pytest.mark.usefixtures("tools")

LIVE = [
    {"metric": "live.recall", "at_least": 0.85, "window": "500 labelled", "for": "3 of 5"}
    | {"then": "retrain"},
    {"metric": "live.input_drift", "at_most": 0, "window": "40 requests", "for": "1 of 1"}
    | {"then": "ticket"},
    {"metric": "live.error_share", "at_most": 0.01, "for": "90s", "then": "rollback"},
    {"metric": "live.requests_per_s", "at_least": 2, "for": "1h", "then": "ticket"},
    {"metric": "live.latency_p50_ms", "at_most": 0.123456789, "for": "30s", "then": "page"},
]


@pytest.fixture
def live(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    """A document with live key results of every kind, and words that templates must not read."""
    more = [
        {"id": f"KR{i}", "requirement": "R1", "when": "live"} | result
        for i, result in enumerate(LIVE, 3)
    ]
    document["objectives"][0]["key_results"] += more
    document["requirements"][0]["text"] = 'find "it" {{ at 100 % }} `now`'
    store(folder, document)
    known = {"live.recall": "found", "live.input_drift": "moved"}
    params.write_json(folder / "reports/reference.json", {"live_metrics": known})
    return document


def store(folder: Path, document: dict[str, Any]) -> None:
    (folder / "objectives.yaml").write_text(yaml.safe_dump(document))


def compiled(folder: Path, *options: str) -> Path:
    parser = argparse.ArgumentParser()
    compiling.options(parser)
    assert compiling.write(folder, parser.parse_args(options)) == 0
    return folder / "live/compiled"


def accepts(folder: Path, *command: str) -> str:
    """The output of a tool that accepts what it is given; AssertionError if it does not."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules_of(compiled: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = params.load_yaml(compiled / "rules.yml")["groups"][0]["rules"]
    return found


def test_everything_compiled_is_accepted_by_its_tool(folder: Path, live: Any) -> None:
    token = folder / "token"
    token.write_text("secret")
    mail = ("--email", "people@example.org", "--smarthost", "mail.example.org:587")
    found = compiled(folder, "--token-file", str(token), *mail)
    assert "9 rules found" in accepts(found, "promtool", "check", "rules", "rules.yml")
    accepts(found, "promtool", "check", "config", "prometheus.yml")
    assert "2 receivers" in accepts(found, "amtool", "check-config", "alertmanager.yml")
    assert "1 receivers" in accepts(compiled(folder), "amtool", "check-config", "alertmanager.yml")


def test_people_get_critical_alerts_and_the_actions_server_all(folder: Path) -> None:
    mail = ("--email", "people@example.org", "--smarthost", "mail.example.org:587")
    found = compiled(folder, *mail)
    routes = ["amtool", "config", "routes", "test", "--config.file=alertmanager.yml"]
    assert accepts(found, *routes, "severity=critical").strip() == "people"
    assert accepts(found, *routes, "severity=warning").strip() == "actions"
    for receiver in params.load_yaml(found / "alertmanager.yml")["receivers"]:
        (webhook,) = receiver["webhook_configs"]
        assert webhook == {"url": "http://127.0.0.1:9099/alerts", "send_resolved": True}


def test_the_addresses_are_those_asked_for(folder: Path) -> None:
    asked = {"service": "a:1", "monitor": "b:2", "alertmanager": "c:3", "actions": "d:4"}
    options = [part for name, value in asked.items() for part in (f"--{name}", value)]
    options += ["--interval", "7s", "--live", "elsewhere"]
    said = accepts(folder, *COMPILE, *options)
    assert said.startswith("elsewhere/compiled: 4 alerts, 12 tests of them")
    assert not (folder / "live").exists()
    prometheus = params.load_yaml(folder / "elsewhere/compiled/prometheus.yml")
    assert prometheus["global"] == {"scrape_interval": "7s", "evaluation_interval": "7s"}
    jobs = {job["job_name"]: job["static_configs"] for job in prometheus["scrape_configs"]}
    for name in ("service", "monitor"):
        assert jobs[name] == [{"targets": [asked[name]], "labels": {"service": "demo"}}]
    assert asked["alertmanager"] in str(prometheus["alerting"])
    assert "http://d:4/alerts" in (folder / "elsewhere/compiled/alertmanager.yml").read_text()


@pytest.mark.contract
@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda path: path.name)
def test_alerts_of_every_blueprint_pass_their_tests(blueprint: Path, tmp_path: Path) -> None:
    for name in ("objectives.yaml", "reports/reference.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(blueprint / name, tmp_path / name)
    found = compiled(tmp_path)
    accepts(found, "promtool", "test", "rules", "rules_test.yml")
    loaded = objectives.load(blueprint / "objectives.yaml")
    assert len(rules_of(found)) == len(loaded.live) + 3


def test_every_alert_has_three_tests_that_look_at_it(folder: Path, live: Any) -> None:
    found = compiled(folder)
    seen: dict[str, set[str]] = {}
    for test in params.load_yaml(found / "rules_test.yml")["tests"]:
        alert, _, what = test["name"].partition(" ")
        seen.setdefault(alert, set()).add(what)
        assert {step["alertname"] for step in test["alert_rule_test"]} == {alert}
        last = test["alert_rule_test"][1 if what == "fires" else -1]
        watched = alert in ("MonitorDead", "ServiceDown") and what == "has no data"
        assert bool(last["exp_alerts"]) == (what == "fires" or watched)
    assert seen.keys() == {rule["alert"] for rule in rules_of(found)}
    assert set(map(frozenset, seen.values())) == {frozenset({"fires", "is silent", "has no data"})}


def test_rules_name_action_owner_and_requirement(folder: Path, live: Any) -> None:
    rules = {rule["alert"]: rule for rule in rules_of(compiled(folder))}
    assert list(rules)[:2] == ["DemoKR2", "DemoKR3"]
    assert rules["DemoKR3"]["expr"] == (
        'live_key_result_breached{service="demo",key_result="KR3"} == 1'
    )
    assert rules["DemoKR3"]["labels"] == {
        "service": "demo",
        "key_result": "KR3",
        "metric": "live.recall",
        "action": "retrain",
        "severity": "warning",
    }
    assert rules["DemoKR3"]["annotations"]["owner"] == "quality"
    assert rules["DemoKR2"]["labels"]["severity"] == "critical"
    assert rules["DemoKR2"]["for"] == "5m"
    assert {"MonitorDead", "ServiceDown", "LogDropping"} < rules.keys()


BREAKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "compares the other way": lambda rule: rule.update(expr=turned(rule["expr"])),
    "looks at every service": lambda rule: rule.update(
        expr=rule["expr"].replace('service="demo"', 'service!=""')
    ),
    "never waits": lambda rule: rule.update({"for": "0s"}),
    "waits for ever": lambda rule: rule.update({"for": "100h"}),
    "takes another action": lambda rule: rule["labels"].update(action="nothing"),
    "says something else": lambda rule: rule["annotations"].update(summary="all is well"),
}


def turned(expression: str) -> str:
    for sign, other in ((" == ", " != "), (" > ", " < "), (" < ", " > ")):
        if sign in expression:
            return expression.replace(sign, other)
    raise AssertionError(expression)


@pytest.mark.parametrize("what", BREAKS)
def test_a_rule_that_is_broken_fails_its_tests(folder: Path, live: Any, what: str) -> None:
    """Of every alert, so that none is tested by name only."""
    found = compiled(folder)
    accepts(found, "promtool", "test", "rules", "rules_test.yml")
    rules = rules_of(found)
    if what == "never waits":
        rules = [rule for rule in rules if rule.get("for", "0s") != "0s"]
    for rule in rules:
        BREAKS[what](rule)
    content = {"groups": [{"name": "broken", "rules": rules}]}
    (found / "rules.yml").write_text(yaml.safe_dump(content))
    with pytest.raises(AssertionError) as failed:
        accepts(found, "promtool", "test", "rules", "rules_test.yml")
    for rule in rules:
        assert f"name: {rule['alert']} " in str(failed.value)


def test_feedback_does_not_hide_slow_answers(folder: Path, live: Any) -> None:
    """The tests notice a rule that counts all requests, for those of /feedback miss the target."""
    found = compiled(folder)
    text = (found / "rules.yml").read_text()
    (found / "rules.yml").write_text(text.replace("path!~", "status!~"))
    with pytest.raises(AssertionError, match="DemoKR2 is silent"):
        accepts(found, "promtool", "test", "rules", "rules_test.yml")


def test_a_live_metric_that_nothing_produces_fails(
    folder: Path, live: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    params.write_json(folder / "reports/reference.json", {"live_metrics": {"live.recall": "x"}})
    (folder / "metrics.json").unlink()  # the numbers of a release are the gate's affair
    assert subprocess.run(COMPILE, cwd=folder).returncode == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "compile: KR4: nothing produces live.input_drift" in lines[0]
    assert not (folder / "live").exists()


def test_mail_needs_a_server(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert subprocess.run([*COMPILE, "--email", "a@b.org"], cwd=folder).returncode == 1
    assert "--email and --smarthost go together" in capfd.readouterr().err


@pytest.mark.parametrize(
    "impossible",
    [
        {"metric": "live.error_share", "at_most": 1},
        {"metric": "live.latency_p95_ms", "at_least": 0},
    ],
)
def test_a_target_that_nothing_can_miss_is_refused(impossible: dict[str, Any]) -> None:
    asked = {"id": "KR1", "requirement": "R1", "when": "live", "for": "5m", "then": "page"}
    result = objectives.KeyResult.model_validate(asked | impossible)
    with pytest.raises(SystemExit, match="can miss the target"):
        alerttests.examples(result)


class Webhook(http.server.BaseHTTPRequestHandler):
    """Puts each of Alertmanager's notifications into the queue of its server."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Receiver)
        self.server.told.put(json.loads(body) | {"came": time.monotonic()})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Receiver(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Webhook)
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()

    def wait(self, alert: str, status: str) -> dict[str, Any]:
        """The first notification of this alert with this status."""
        while True:
            found = self.told.get(timeout=60)
            for one in found["alerts"]:
                if (one["labels"]["alertname"], one["status"]) == (alert, status):
                    return one


@contextlib.contextmanager
def serving(server: Any) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def started(compiled: Path, name: str, port: int) -> Any:
    """Prometheus or Alertmanager with the compiled configuration."""
    storage = {"prometheus": "--storage.tsdb.path", "alertmanager": "--storage.path"}[name]
    command = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}[name]
    options = [f"--config.file={compiled / name}.yml", f"{storage}={compiled / name}"]
    options += ["--cluster.listen-address="] if name == "alertmanager" else []
    address = f"127.0.0.1:{port}"
    options += [f"--web.listen-address={address}"]
    log = compiled / f"{name}.log"
    return benchmark.running([command, *options], f"http://{address}/-/ready", log)


def answered(port: int, expression: str, seconds: float = 20) -> bool:
    """Does Prometheus answer a query within so long? A rate needs two visits to the service."""
    query = urllib.parse.urlencode({"query": expression})
    url = f"http://127.0.0.1:{port}/api/v1/query?{query}"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url) as response:
            if json.load(response)["data"]["result"]:
                return True
        time.sleep(0.2)
    return False


def evaluated(port: int, number: int, **more: str) -> None:
    """Tell Alertmanager of one incident as often, as Prometheus does with each evaluation."""
    given = {"labels": {"alertname": "DemoKR2"}, "startsAt": "2026-01-01T00:00:00Z", **more}
    for _ in range(number):
        inbox.post(f"http://127.0.0.1:{port}/api/v2/alerts", json.dumps([given]).encode())
        time.sleep(0.1)


@pytest.mark.fault
@pytest.mark.parametrize("repeat_s", [None, 3], ids=["as compiled", "after 3 s"])
def test_of_an_incident_people_hear_once_per_interval_and_once_when_it_is_over(
    folder: Path, repeat_s: int | None
) -> None:
    """Goal M5: a hundred evaluations, in ten seconds or more."""
    receiver, port = Receiver(), benchmark.free_port()
    with serving(receiver) as actions:
        found = compiled(folder, "--actions", f"127.0.0.1:{actions}")
        manager = params.load_yaml(found / "alertmanager.yml")
        assert manager["route"]["repeat_interval"] == "4h"
        manager["route"] |= {"group_wait": "0s", "group_interval": "1s"}
        manager["route"] |= {"repeat_interval": f"{repeat_s}s"} if repeat_s else {}
        (found / "alertmanager.yml").write_text(yaml.safe_dump(manager))
        with started(found, "alertmanager", port):
            evaluated(port, 100)
            evaluated(port, 30, endsAt="2026-01-01T00:01:00Z")
    told = [receiver.told.get() for _ in range(receiver.told.qsize())]
    statuses = [one["status"] for one in told]
    assert statuses == ["firing"] * (len(told) - 1) + ["resolved"]
    times = [one["came"] for one in told[:-1]]
    if repeat_s is None:
        assert len(times) == 1
    else:
        apart = [later - time for time, later in itertools.pairwise(times)]
        assert len(apart) >= 2 and min(apart) > repeat_s - 0.5


@pytest.mark.fault
def test_a_missed_key_result_reaches_the_actions_server(folder: Path, live: Any) -> None:
    """From the real metrics of service and monitor to the webhook, and the all-clear after it."""
    monitor, receiver = gauges.Gauges(), Receiver()

    def publish(breached: bool) -> None:
        values = {"live.recall": 0.5, "KR3": {"breached": breached, "windows": 5}}
        values |= {"live.input_drift": 0.0, "KR4": {"breached": False, "windows": 5}}
        monitor.update(values, {"joined": 1}, folder, "service:")

    publish(False)
    telemetry.MODEL.labels("v1").set(1)
    timers = telemetry.timers(frozenset({"/ask"}))
    timers["/ask", "2xx"].observe(0.01)
    telemetry.unanswered(frozenset({"/ask"}))
    with contextlib.ExitStack() as stack:
        ports = {name: benchmark.free_port() for name in ("prometheus", "alertmanager")}
        for name, registry in {"service": REGISTRY, "monitor": monitor.registry}.items():
            server, thread = start_http_server(0, "127.0.0.1", registry=registry)
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            ports[name] = server.server_address[1]
        ports["actions"] = stack.enter_context(serving(receiver))
        addresses = [f"--{name}=127.0.0.1:{port}" for name, port in ports.items()]
        found = compiled(folder, "--interval", "1s", *[a for a in addresses if "prom" not in a])
        manager = params.load_yaml(found / "alertmanager.yml")
        manager["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        (found / "alertmanager.yml").write_text(yaml.safe_dump(manager))
        stack.enter_context(started(found, "alertmanager", ports["alertmanager"]))
        stack.enter_context(started(found, "prometheus", ports["prometheus"]))
        publish(True)
        alert = receiver.wait("DemoKR3", "firing")
        assert alert["labels"]["action"] == "retrain" and alert["labels"]["service"] == "demo"
        assert alert["annotations"]["summary"] == (
            "live.recall is 0.5, target >= 0.85, missed in 3 of 5 windows of 500 labelled"
        )
        assert alert["annotations"]["requirement"] == 'find "it" {{ at 100 % }} `now`'
        for panel in params.read_json(found / "dashboard.json")["panels"]:
            for expression in [target["expr"] for target in panel["targets"]]:
                if "gpu" not in expression:  # where there is none, there is no answer
                    assert answered(ports["prometheus"], expression), expression
        publish(False)
        assert receiver.wait("DemoKR3", "resolved")["fingerprint"] == alert["fingerprint"]
