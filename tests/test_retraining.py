"""What is the same in every retrain.py, apart from the workspace: test_workspace.py has that."""

import argparse
import http.server
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import audit, lineage, objectives, registry, releasing, retraining, tracking
from shared.comparing import Comparison

BETTER = Comparison(0.05, 0.01, 0.09, True)
UNSURE = Comparison(0.05, -0.01, 0.11, False)
PARAMS = """# Every number worth changing.
ingest:
  source: data.csv   # a file of numbers
train:
  auc: 0.95          # what it is said to reach
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are not there, and go back to what they were."""
    names = (audit.FOLDER, audit.KEY_RESULT, audit.INCIDENT, audit.SERVICE, "MLFLOW_TRACKING_URI")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_parameters_change_and_comments_stay(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    retraining.configure(tmp_path, {"ingest.source": "/data/new.csv", "train.auc": 0.5})
    assert (tmp_path / "params.yaml").read_text() == PARAMS.replace(
        "data.csv   #", "/data/new.csv #"
    ).replace("0.95 ", "0.5  ")
    with pytest.raises(retraining.Failed, match=r"params.yaml: train.epoch: unknown key"):
        retraining.configure(tmp_path, {"train.epoch": 3})


def test_arguments_come_from_the_server_or_a_person(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["retrain.py"])
    asked = retraining.arguments("Retraining.")
    assert (asked.key_result, asked.live, asked.service) == ("by-hand", Path("live"), None)
    monkeypatch.setenv(audit.FOLDER, str(tmp_path / "simulated"))
    monkeypatch.setenv(audit.SERVICE, "http://127.0.0.1:3000")
    monkeypatch.setattr(sys, "argv", ["retrain.py", "--key-result=KR3"])
    asked = retraining.arguments("Retraining.")
    assert (asked.key_result, asked.live) == ("KR3", tmp_path / "simulated")
    assert asked.service == "http://127.0.0.1:3000"
    retraining.audit("data_appended", rows=3)
    (line,) = audit.read(tmp_path / "simulated")
    assert line["event"] == "data_appended" and line["key_result"] == "KR3"


@pytest.fixture
def service() -> Iterator[tuple[str, list[Path | str]]]:
    """A service that serves what the pointer in the list says, or always the text in it."""
    serves: list[Path | str] = []

    class Info(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now = serves[0]
            version = lineage.current(now) if isinstance(now, Path) else now
            body = json.dumps({"model_version": version}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Info)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", serves
    server.shutdown()


@pytest.fixture
def retrained(
    store: Path, environment: None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str, argparse.Namespace]:
    """A blueprint that serves one model, and a workspace with a registered challenger.

    Gives live/, the champion's version and the arguments of retrain.py.
    """
    live = store / "live"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    registry.register()
    registry.promote_live(objectives.load(), BETTER)
    champion = releasing.deploy(store / "export", live)
    work = live / "work"
    work.mkdir()
    for name in ("objectives.yaml", "params.yaml", "dvc.lock", "metrics.json"):
        shutil.copy(store / name, work / name)
    (work / "dvc.lock").write_text("stages: {prepare: {outs: [grown]}}\n")
    (work / "export").mkdir()
    (work / "export/model.onnx").write_bytes(b"challenger")
    with monkeypatch.context() as there:
        there.chdir(work)
        assert registry.register() == "2"
    return (
        live,
        champion,
        argparse.Namespace(key_result="KR2", live=live, service=None, champion=champion),
    )


def champion_number() -> str:
    return str(tracking.client().get_model_version_by_alias("demo", "champion").version)


def events(live: Path) -> list[str]:
    return [line["event"] for line in audit.read(live)]


def test_a_better_challenger_is_promoted_and_served(
    retrained: tuple[Path, str, argparse.Namespace], service: tuple[str, list[Path | str]]
) -> None:
    live, champion, asked = retrained
    asked.service, serves = service
    serves.append(live)
    model = retraining.finish(asked, live / "work", BETTER)
    assert model == lineage.current(live) != champion and champion_number() == "2"
    assert events(live) == ["challenger", "compared", "promoted", "served"]
    first, second = audit.read(live)[:2]
    assert first["version"] == model and first["champion"] == champion
    assert second["low"] == 0.01 and second["better"] is True
    assert retraining.finish(asked, live / "work", BETTER) == model, "one that goes on after a kill"


def test_a_challenger_that_is_not_surely_better_changes_nothing(
    retrained: tuple[Path, str, argparse.Namespace],
) -> None:
    live, champion, asked = retrained
    with pytest.raises(retraining.Refused, match=r"95 % interval -0\.01 to 0\.11"):
        retraining.finish(asked, live / "work", UNSURE)
    assert lineage.current(live) == champion and champion_number() == "1"
    assert events(live) == ["challenger", "compared"]


def test_a_version_that_was_rolled_back_is_not_promoted_again(
    retrained: tuple[Path, str, argparse.Namespace],
) -> None:
    live, champion, asked = retrained
    retraining.finish(asked, live / "work", BETTER)
    assert releasing.rollback(live) == champion and champion_number() == "1"
    with pytest.raises(retraining.Refused, match="was rolled back before"):
        retraining.finish(asked, live / "work", BETTER)
    assert lineage.current(live) == champion and champion_number() == "1"


def test_a_challenger_that_was_compared_with_another_model_is_refused(
    retrained: tuple[Path, str, argparse.Namespace],
) -> None:
    """A person has rolled back, or released, meanwhile."""
    live, champion, asked = retrained
    asked.champion = "another"
    with pytest.raises(SystemExit, match=f"refused: {champion} took the place of another"):
        retraining.finish(asked, live / "work", BETTER)
    assert lineage.current(live) == champion and champion_number() == "1"


def test_a_service_that_serves_the_model_but_is_too_busy_to_say_so_each_time_keeps_it(
    retrained: tuple[Path, str, argparse.Namespace],
    service: tuple[str, list[Path | str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, _, asked = retrained
    asked.service, serves = service
    serves.append(live)
    monkeypatch.setattr(releasing, "served", lambda *_: False)
    model = retraining.finish(asked, live / "work", BETTER)
    assert lineage.current(live) == model and events(live)[-1] == "served"


def test_a_service_that_refuses_the_model_gets_the_old_one_back(
    retrained: tuple[Path, str, argparse.Namespace],
    service: tuple[str, list[Path | str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, champion, asked = retrained
    asked.service, serves = service
    serves.append(champion)
    monkeypatch.setattr(retraining, "SERVED_S", 0.3)
    with pytest.raises(retraining.Failed, match=f"refuses .* and serves {champion}"):
        retraining.finish(asked, live / "work", BETTER)
    assert lineage.current(live) == champion and champion_number() == "1"
    assert events(live) == ["challenger", "compared", "promoted", "rolled_back"]


@pytest.mark.fault
def test_a_model_that_cannot_be_stored_is_no_champion(
    retrained: tuple[Path, str, argparse.Namespace],
) -> None:
    live, champion, asked = retrained
    (live / "models").rename(live / "elsewhere")
    (live / "models").write_text("no folder can be made here\n")
    with pytest.raises(retraining.Failed, match="could not be deployed"):
        retraining.finish(asked, live / "work", BETTER)
    assert lineage.current(live) == champion and champion_number() == "1"


def test_a_service_that_is_down_serves_the_model_later(
    retrained: tuple[Path, str, argparse.Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    live, champion, asked = retrained
    asked.service = "http://127.0.0.1:9"
    monkeypatch.setattr(retraining, "SERVED_S", 0.0)
    with pytest.raises(retraining.Failed, match="does not answer"):
        retraining.finish(asked, live / "work", BETTER)
    assert lineage.current(live) != champion and champion_number() == "2"
