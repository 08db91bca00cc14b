"""The actions server's parts in this process: what is noted, done once, refused and forwarded."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared import actions, audit
from shared.acting import Acting, Limits
from shared.guards import Guard

RETRAIN = """
import sys
from pathlib import Path
mode = Path("mode").read_text()
if mode == "refused":
    sys.exit("refused: not better")
sys.exit("no memory left" if mode == "fails" else 0)
"""
LIMITS = Limits(at_most_every=3600, probation=60, timeout=60)


@pytest.fixture
def acting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Acting:
    (folder / "retrain.py").write_text(RETRAIN)
    (folder / "mode").write_text("succeeds")
    monkeypatch.chdir(folder)
    return Acting(folder / "live", LIMITS, service="http://127.0.0.1:9")


@pytest.fixture
def client(acting: Acting) -> Iterator[TestClient]:
    with TestClient(served(acting)) as found:
        yield found


def served(acting: Acting, forward: str | None = None) -> Guard:
    app = actions.application(acting, forward)
    return Guard(app, actions.BODY_MB, frozenset({"application/json"}), 16)


def alert(action: str, status: str = "firing", **more: Any) -> dict[str, Any]:
    labels = {"action": action, "key_result": "KR3", **more}
    begun = {"status": status, "startsAt": "2026-11-26T10:00:00Z", "fingerprint": "ab12"}
    return {"version": "4", "alerts": [{**begun, "labels": labels}]}


def events(acting: Acting) -> list[str]:
    return [line["event"] for line in audit.read(acting.live)]


def wait_for(acting: Acting, event: str) -> None:
    deadline = time.monotonic() + 60
    while event not in events(acting):
        assert time.monotonic() < deadline, events(acting)
        time.sleep(0.02)


def test_a_page_is_noted_once_until_it_is_resolved(client: TestClient, acting: Acting) -> None:
    for _ in range(3):
        assert client.post("/alerts", json=alert("page")).json() == {"accepted": 1}
    client.post("/alerts", json=alert("page", status="resolved"))
    assert events(acting) == ["alert", "page", "resolved"]
    assert [line["event"] for line in client.get("/audit").json()] == events(acting)
    assert client.get("/livez").json() == {"acts": True}


@pytest.mark.parametrize(
    ("mode", "end"),
    [("succeeds", "retrain_finished"), ("fails", "retrain_failed"), ("refused", "refused")],
)
def test_a_retraining_ends_as_its_script_does(
    client: TestClient, acting: Acting, mode: str, end: str
) -> None:
    Path("mode").write_text(mode)
    for _ in range(2):
        assert client.post("/alerts", json=alert("retrain")).status_code == 200
    wait_for(acting, end)
    assert events(acting) == ["alert", "retrain_started", end]


def test_what_is_not_for_this_server_is_said_and_left(client: TestClient, acting: Acting) -> None:
    client.post("/alerts", json=alert("retrain", service="another"))
    assert events(acting) == ["alert", "skipped"]
    assert "not for this server" in audit.read(acting.live)[1]["reason"]


def test_a_broken_message_names_its_field(client: TestClient, acting: Acting) -> None:
    refused = client.post("/alerts", json={"version": "3", "alerts": []})
    assert refused.status_code == 400 and refused.json()["field"] == "version"
    assert events(acting) == []


def test_a_page_that_nobody_could_be_told_is_asked_for_again(acting: Acting) -> None:
    with TestClient(served(acting, forward="http://127.0.0.1:9/")) as client:
        assert client.post("/alerts", json=alert("page")).status_code == 502
    assert events(acting) == ["alert"], "not noted as done"


def test_a_timer_acts_and_is_held_to_the_rate(
    acting: Acting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(actions.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["actions", "once", "--key-result", "nightly"])
    for said in ("retrain: retrain_finished", "retrain: skipped"):
        with pytest.raises(SystemExit) as ended:
            actions.main()
        assert not ended.value.code and said in capsys.readouterr().out
    assert events(acting)[:3] == ["scheduled", "retrain_started", "retrain_finished"]


def test_a_rollback_without_a_version_before_is_refused(client: TestClient, acting: Acting) -> None:
    client.post("/alerts", json=alert("rollback"))
    wait_for(acting, "refused")


def test_beyond_loopback_a_token_is_needed(monkeypatch: pytest.MonkeyPatch, acting: Acting) -> None:
    monkeypatch.delenv("ACTIONS_TOKEN", raising=False)
    monkeypatch.setattr(sys, "argv", ["actions", "--host", "0.0.0.0"])
    with pytest.raises(SystemExit, match=r"0\.0\.0\.0 needs ACTIONS_TOKEN"):
        actions.main()
