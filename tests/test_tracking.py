import contextlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import benchmark, params, provenance, registry, tracking


def test_a_run_is_recorded_once_with_its_provenance(folder: Path) -> None:
    run_id = tracking.start("demo")
    assert run_id and tracking.epoch(run_id, 0, {"loss": 1.0}) == run_id
    assert tracking.start("demo") == run_id, "a restarted training continues its run"
    assert tracking.record() == run_id == tracking.record()
    run = tracking.client().get_run(run_id)
    assert run.data.metrics["test.auc"] == 0.95 and run.data.params["train.epochs"] == "1"
    assert run.data.tags["git_commit"] == provenance.collect()["git_commit"] != "none"
    assert tracking.start("demo") != run_id, "the next pipeline run is a new one"


def test_names_from_a_users_data_are_recorded(folder: Path) -> None:
    """A schema's values may stand in names, and may be many."""
    report = {f"{{'place': 'Büro {i}'}}": i for i in range(1100)}
    params.write_json(folder / "reports/validation.json", {"counts": report, "k" * 300: 1})
    run_id = tracking.record()
    assert run_id
    found = tracking.client().get_run(run_id).data.metrics
    assert (
        found["validation.counts.{'place': 'Büro 7'}".translate(str.maketrans("{}':", "____"))] == 7
    )
    assert len(found) > 1100 and max(map(len, found)) == 250


def test_a_server_that_is_down_costs_a_warning_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking.start("demo") is None
    assert tracking.epoch(None, 0, {}) is None
    assert registry.register() is None
    assert "later: python -m shared.tracking record" in capsys.readouterr().err


def test_the_commands_report_and_exit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params.write_json(folder / "reports/objectives.json", {"passed": True})
    for command, code in {"record": 0, "promote": 0, "rollback": 1}.items():
        monkeypatch.setattr("sys.argv", ["tracking", command])
        with pytest.raises(SystemExit) as stopped:
            tracking.main()
        assert stopped.value.code == code
    monkeypatch.setattr("sys.argv", ["tracking", "versions"])
    tracking.main()
    assert "promote: version 1 is champion" in capsys.readouterr().out


@pytest.mark.fault
def test_four_processes_open_a_fresh_store_at_once(folder: Path) -> None:
    """Goal P3: four runs, no "database is locked", no migration that meets another."""
    code = "from shared import tracking; print(tracking._open_run(tracking.client(), 'demo'))"
    places = [folder / str(number) for number in range(4)]
    for place in places:
        place.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * 4, ended
    assert "locked" not in "".join(errors for _, errors in ended)
    store = tracking.client()
    experiment = store.get_experiment_by_name("demo").experiment_id
    recorded = {run.info.run_id for run in store.search_runs([experiment])}
    assert recorded == {output.strip() for output, _ in ended} and len(recorded) == 4


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
    ]
    command += [
        "--port",
        str(port),
        "--artifacts-destination",
        str(folder / "store"),
        "--workers",
        "1",
    ]
    url = f"http://127.0.0.1:{port}/health"
    with benchmark.running(command, url, folder / "server.log", start_new_session=True) as process:
        yield process


@pytest.mark.fault
def test_a_server_killed_during_training_costs_no_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal P2: stages end well, the numbers are in files, one command logs them afterwards."""
    port = benchmark.free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with mlflow_server(folder, port) as process:
        run_id = tracking.start("demo")
        assert tracking.epoch(run_id, 0, {"loss": 1.0}) == run_id
        os.killpg(process.pid, signal.SIGKILL)
        assert tracking.epoch(run_id, 1, {"loss": 0.5}) is None
    assert registry.register() is None and (folder / "metrics.json").exists()
    params.write_json("reports/objectives.json", {"passed": True})
    with mlflow_server(folder, port):
        done = subprocess.run(
            [sys.executable, "-m", "shared.tracking", "record"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        run = tracking.client().get_run(run_id)
        assert run.data.metrics["test.auc"] == 0.95 and run.info.status == "FINISHED"
        assert tracking.client().get_model_version_by_alias("demo", "challenger").run_id == run_id


@pytest.mark.fault
def test_a_server_that_refuses_a_third_of_all_calls_is_recorded_to_in_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = benchmark.free_port()
    with mlflow_server(folder, port), flaky(f"http://127.0.0.1:{port}") as (url, refused):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        versions = [registry.register() for _ in range(5)]
        assert refused and versions[-1] == "1" and set(versions) <= {"1", None}


@contextlib.contextmanager
def flaky(target: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers 503 to three of ten calls; gives its address and what it refused."""
    refused: list[str] = []
    generator = random.Random(0)

    class Proxy(http.server.BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            if generator.random() < 0.3:
                refused.append(self.path)
                self.reply(503, b"{}")
                return
            headers = {"content-type": self.headers.get("content-type") or "application/json"}
            request = urllib.request.Request(
                target + self.path, content or None, headers, method=self.command
            )
            try:
                with urllib.request.urlopen(request) as response:
                    self.reply(response.status, response.read())
            except urllib.error.HTTPError as error:
                self.reply(error.code, error.read())

        do_GET = do_POST = do_PUT = do_PATCH = handle_one

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", refused
    server.shutdown()
