"""The actions server as a process, with a retrain.py that does what the file `mode` says."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from shared import audit, inbox, lineage
from shared.benchmark import free_port, running

RETRAIN = """
import subprocess, sys, time
from pathlib import Path
from shared import retraining
asked, mode = retraining.arguments(None), Path("mode").read_text()
print("begins", flush=True)
retraining.audit("data_appended", mode=mode)
if mode == "fails":
    print("x" * 10_000)
    sys.exit("no memory left")
if mode == "refused":
    raise retraining.Refused("KR1 missed: test.auc target >= 0.9, measured 0.5")
if mode == "hangs":  # with a child that has left its process group
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(600)
while mode == "waits" and not Path("go").exists():
    time.sleep(0.01)
"""


class Server(NamedTuple):
    url: str
    process: subprocess.Popen[bytes]
    live: Path


@contextlib.contextmanager
def started(app: Path, *options: str, **variables: str) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "shared.actions", "--port", str(port), *options]
    url, environment = f"http://127.0.0.1:{port}", os.environ | variables
    log = app / "actions.log"
    with running(command, f"{url}/livez", log, cwd=app, env=environment) as process:
        yield Server(url, process, app / "live")


@pytest.fixture
def app(folder: Path) -> Iterator[Path]:
    """A blueprint's folder whose retraining succeeds; nothing of it is left running."""
    (folder / "retrain.py").write_text(RETRAIN)
    (folder / "mode").write_text("succeeds")
    yield folder
    assert retrainings(folder / "live") == []


def retrainings(live: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(audit.FOLDER) == str(live):
                found.append(process)
    return found


def alert(fingerprint: str = "a1", began: float | None = None, **labels: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(began or time.time(), UTC).isoformat()
    named = {"alertname": "DemoKR2", "service": "demo", "key_result": "KR2", "action": "retrain"}
    return {
        "status": "firing",
        "labels": named | labels,
        "annotations": {"summary": "recall >= 0.9, measured 0.7"},
        "startsAt": moment,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus",
        "fingerprint": fingerprint,
    }


def webhook(*alerts: dict[str, Any]) -> dict[str, Any]:
    """As Alertmanager sends it."""
    return {
        "version": "4",
        "groupKey": "{}:{alertname='DemoKR2'}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "actions",
        "alerts": list(alerts),
    }


def ask(url: str, content: Any = None, token: str = "") -> tuple[int, Any]:
    body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
    headers = {"content-type": "application/json"} | (
        {"authorization": f"Bearer {token}"} if token else {}
    )
    try:
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def tell(server: Server, *alerts: dict[str, Any]) -> None:
    answer = ask(f"{server.url}/alerts", webhook(*alerts))
    assert answer == (200, {"accepted": len(alerts)})


def events(live: Path) -> list[str]:
    return [line["event"] for line in audit.read(live)]


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_event(live: Path, event: str, count: int = 1) -> dict[str, Any]:
    wait_for(lambda: events(live).count(event) >= count)
    return [line for line in audit.read(live) if line["event"] == event][count - 1]


def served(app: Path, *names: str) -> None:
    """These models were put in place one after another."""
    for name in names:
        (app / "live/models" / name).mkdir(parents=True)
        (app / "live/current").write_text(f"{name}\n")
        lineage.settle(app / "live")


def test_an_alert_is_acted_upon_once_and_every_step_is_noted(app: Path) -> None:
    with started(app) as server:
        first = alert()
        tell(server, first)
        wait_for_event(server.live, "retrain_finished")
        tell(server, first)
        tell(server, first | {"status": "resolved"})
        tell(server, first | {"status": "resolved"})
        status, lines = ask(f"{server.url}/audit")
    assert status == 200 and lines == audit.read(server.live)
    steps = ["alert", "retrain_started", "data_appended", "retrain_finished", "resolved"]
    assert [line["event"] for line in lines] == steps
    assert {line["key_result"] for line in lines} == {"KR2"}
    assert len({line["incident"] for line in lines}) == 1


def test_a_retraining_that_fails_or_is_refused_says_why(app: Path) -> None:
    served(app, "old")
    with started(app, "--at-most-every", "0") as server:
        (app / "mode").write_text("fails")
        tell(server, alert("a1"))
        failed = wait_for_event(server.live, "retrain_failed")
        (app / "mode").write_text("refused")
        tell(server, alert("a2"))
        refused = wait_for_event(server.live, "refused")
    assert failed["reason"] == "exit code 1" and failed["output"].endswith("no memory left")
    assert len(failed["output"]) == 1500
    assert refused["reason"] == "KR1 missed: test.auc target >= 0.9, measured 0.5"
    assert lineage.current(server.live) == "old"


def test_retrainings_come_one_after_another_and_keep_their_distance(app: Path) -> None:
    (app / "mode").write_text("waits")
    third = alert("a3")
    with started(app, "--at-most-every", "0") as server:
        tell(server, alert("a1"), alert("a2"))
        wait_for_event(server.live, "data_appended")
        assert ask(f"{server.url}/livez")[0] == 200
        (app / "go").touch()
        wait_for_event(server.live, "retrain_finished", 2)
        assert (
            events(server.live)[2:] == ["retrain_started", "data_appended", "retrain_finished"] * 2
        )
    with started(app, "--at-most-every", "600") as server:
        tell(server, third)
        assert "too recently" in wait_for_event(server.live, "skipped")["reason"]
        lines = len(audit.read(server.live))
        tell(server, third)
        assert len(audit.read(server.live)) == lines, "nothing new is known"
    with started(app, "--at-most-every", "0") as server:
        tell(server, third)
        wait_for_event(server.live, "retrain_finished", 3)


def test_one_that_takes_too_long_is_ended_with_all_its_children(app: Path) -> None:
    (app / "mode").write_text("hangs")
    with started(app, "--timeout", "3") as server:
        tell(server, alert())
        wait_for(lambda: len(retrainings(server.live)) == 2)
        failed = wait_for_event(server.live, "retrain_failed")
        assert retrainings(server.live) == []
    assert failed["reason"] == "took longer than 3 s" and failed["output"] == "begins"


def test_a_new_model_that_makes_trouble_is_rolled_back_instead(app: Path) -> None:
    served(app, "old", "new")
    stale = alert("a1", began=lineage.history(app / "live")[-1]["time"] - 1)
    with started(app, "--probation", "600") as server:
        tell(server, stale)
        assert "before the model now served" in wait_for_event(server.live, "skipped")["reason"]
        tell(server, alert("a2"))
        done = wait_for_event(server.live, "rolled_back")
        assert (done["version"], done["to"]) == ("new", "old")
        assert lineage.current(server.live) == "old"
        tell(server, alert("a3", action="rollback"))
        assert "no model before old" in wait_for_event(server.live, "refused")["reason"]
        tell(server, alert("a4"))
        wait_for_event(server.live, "retrain_finished")


@pytest.mark.fault
def test_a_killed_server_ends_what_was_left_and_tries_once_more(app: Path) -> None:
    (app / "mode").write_text("hangs")
    for number in (1, 2):
        with started(app) as server:
            if number == 1:
                tell(server, alert("a1"), alert("b2", action="rollback"))
            wait_for_event(server.live, "data_appended", number)
            wait_for(lambda: len(retrainings(server.live)) == 2)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        assert len(retrainings(server.live)) == 2, "its processes go on"
    with started(app) as server:
        wait_for_event(server.live, "refused")  # the rollback, which waited
        assert retrainings(server.live) == []
    begun = ["retrain_started", "data_appended", "interrupted"]
    expected = ["alert", "alert", *begun, *begun, "retrain_failed", "refused"]
    assert events(server.live) == expected
    assert wait_for_event(server.live, "retrain_failed")["reason"] == "was interrupted twice"


@pytest.mark.fault
def test_a_server_that_is_asked_to_stop_ends_its_retraining(app: Path) -> None:
    (app / "mode").write_text("hangs")
    with started(app) as server:
        tell(server, alert())
        wait_for(lambda: len(retrainings(server.live)) == 2)
        server.process.terminate()
        assert server.process.wait(20) is not None
        assert retrainings(server.live) == []
    (app / "mode").write_text("succeeds")
    with started(app) as server:
        wait_for_event(server.live, "retrain_finished")
    assert events(server.live).count("interrupted") == 1


def test_a_timer_retrains_too_but_not_beside_another(app: Path) -> None:
    live, command = app / "live", [sys.executable, "-m", "shared.actions", "once"]
    timer = [*command, "--action", "retrain", "--key-result", "schedule"]
    served(app, "old", "new")
    done = subprocess.run(timer, cwd=app, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "retrain: retrain_finished\n"), done.stderr
    assert events(live) == ["scheduled", "retrain_started", "data_appended", "retrain_finished"]
    assert {line["key_result"] for line in audit.read(live)} == {"schedule"}
    done = subprocess.run(timer, cwd=app, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "retrain: skipped\n")
    (app / "mode").write_text("waits")
    timer += ["--at-most-every", "0"]
    with subprocess.Popen(timer, cwd=app) as first:
        wait_for_event(live, "data_appended", 2)
        done = subprocess.run(timer, cwd=app, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "retrain: skipped\n")
        assert "another action is under way" in audit.read(live)[-1]["reason"]
        first.terminate()
        assert first.wait() == 1
    (app / "mode").write_text("fails")
    done = subprocess.run(timer, cwd=app, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "retrain: retrain_failed\n")
    assert "interrupted" in events(live)


def test_what_is_not_for_this_server_is_only_noted(app: Path) -> None:
    alerts = alert("a1", service="other"), alert("a2", action="reboot")
    with started(app) as server:
        tell(server, *alerts)
        tell(server, *alerts)
    assert events(server.live) == ["alert", "skipped"] * 2
    assert "'reboot'" in audit.read(server.live)[3]["reason"]


def test_bad_input_is_answered_by_naming_the_field(app: Path) -> None:
    with started(app) as server:
        url, good = f"{server.url}/alerts", webhook(alert())
        assert ask(url, b"{")[1]["field"] == "body"
        assert ask(url, b"[]")[0] == 400
        assert ask(url, good | {"version": "3"})[1]["field"] == "version"
        for key, value in {"startsAt": "soon", "fingerprint": "../x", "labels": {"a": 1}}.items():
            status, answer = ask(url, webhook(alert() | {key: value}))
            assert status == 400 and answer["field"].startswith(f"alerts.0.{key}")
        assert ask(url, b'{"version": "4", "alerts": [' + b" " * 1_000_001)[0] == 413
        request = urllib.request.Request(url, b"{}", {"content-type": "text/plain"})
        with pytest.raises(urllib.error.HTTPError, match="415"):
            urllib.request.urlopen(request)
        assert ask(f"{server.url}/other")[0] == 404
    assert audit.read(server.live) == []


def test_a_token_is_asked_for_and_needed_beyond_loopback(app: Path) -> None:
    with started(app, "--host", "0.0.0.0", ACTIONS_TOKEN="secret") as server:
        for path, content in {"/alerts": webhook(alert()), "/audit": None}.items():
            assert ask(server.url + path, content)[0] == 401
            assert ask(server.url + path, content, "wrong")[0] == 401
            assert ask(server.url + path, content, "secret")[0] == 200
        wait_for_event(server.live, "retrain_finished")
        command = [sys.executable, "-m", "shared.actions", "--port", str(free_port())]
        second = subprocess.run(command, cwd=app, capture_output=True, text=True)
    assert "another server acts for" in second.stderr and second.returncode == 1
    opened = subprocess.run(
        [*command, "--host", "0.0.0.0"], cwd=app, capture_output=True, text=True
    )
    assert "listening on 0.0.0.0 needs ACTIONS_TOKEN" in opened.stderr and opened.returncode == 1


@pytest.mark.skipif(not shutil.which("prometheus-alertmanager"), reason="make tools installs it")
def test_alertmanagers_own_webhooks_are_understood(app: Path, tmp_path: Path) -> None:
    """The real Alertmanager, with its bearer token, from firing to resolved."""
    with started(app, ACTIONS_TOKEN="secret") as server:
        token = {"authorization": {"credentials": "secret"}}
        hook = {"url": f"{server.url}/alerts", "send_resolved": True, "http_config": token}
        route = {"receiver": "actions", "group_wait": "0s", "group_interval": "1s"}
        receivers = [{"name": "actions", "webhook_configs": [hook]}]
        config = tmp_path / "alertmanager.yml"
        config.write_text(json.dumps({"route": route, "receivers": receivers}))
        port = free_port()
        command = [
            "prometheus-alertmanager",
            f"--config.file={config}",
            "--cluster.listen-address=",
        ]
        command += [f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={tmp_path}/data"]
        url = f"http://127.0.0.1:{port}"
        with running(command, f"{url}/-/ready", tmp_path / "alertmanager.log"):
            given = {key: alert()[key] for key in ("labels", "annotations", "startsAt")}
            inbox.post(f"{url}/api/v2/alerts", json.dumps([given]).encode())
            wait_for_event(server.live, "retrain_finished")
            now = datetime.fromtimestamp(time.time(), UTC).isoformat()
            inbox.post(f"{url}/api/v2/alerts", json.dumps([given | {"endsAt": now}]).encode())
            wait_for_event(server.live, "resolved")
    assert events(server.live).count("alert") == 1
