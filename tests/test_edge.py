"""The small server: a service.py as it is, without BentoML."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shipped

from shared import benchmark, container, edge, params
from shared.container import Container
from shared.draining import answered, begun, complete, in_progress

ROOT = Path(__file__).parent.parent
TOKEN = "0123456789"
SLOW = "import time\n\n\ndef answer(model, number):\n    time.sleep(number)\n    return model\n"
# Importing BentoML fails, as it does where it is not installed.
MISSING = 'raise ModuleNotFoundError("No module named bentoml")\n'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A service of which every answer takes as many seconds as asked for, at most one."""
    folder = tmp_path_factory.mktemp("slow")
    shipped.write(folder, {"name": "demo"})
    (folder / "predictor.py").write_text(shipped.PREDICTOR.partition("def answer")[0] + SLOW)
    settings = {"service": shipped.SERVICE_PARAMS | {"timeout_s": 1, "threads": 4}}
    params.write_json(folder / "params.yaml", settings)
    params.write_json(folder / "provenance.json", {"model_version": "abc", "bento": "demo:1"})
    missing = tmp_path_factory.mktemp("missing")
    (missing / "bentoml.py").write_text(MISSING)
    with served(folder, PYTHONPATH=f"{missing}:{ROOT}", SERVICE_TOKEN=TOKEN) as started:
        yield started


class served:
    """A folder's service on a free port of all addresses."""

    def __init__(self, folder: Path, **variables: str) -> None:
        port, log = benchmark.free_port(), folder / "log"
        command = [sys.executable, "-m", "shared.edge", "--host", "0.0.0.0", "--port", str(port)]
        self.url = f"http://127.0.0.1:{port}"
        environment = os.environ | variables
        self.running = benchmark.running(
            command, self.url + "/readyz", log, cwd=folder, env=environment
        )

    def __enter__(self) -> Container:
        process = self.running.__enter__()
        return Container(str(process.pid), self.url, TOKEN, 0.0)

    def __exit__(self, *error: Any) -> None:
        self.running.__exit__(*error)


def ask(service: Container, seconds: float) -> tuple[int, Any]:
    body = json.dumps({"number": seconds}).encode()
    return container.request(service.url + "/multiply", service.token, body)


def test_a_service_answers_without_bentoml(service: Container) -> None:
    status, answer = ask(service, 0)
    assert status == 200 and answer["product"] == 3.25
    assert answer["provenance"] == {"model_version": "abc", "bento": "demo:1"}


def test_health_and_metrics_are_there_and_all_else_asks_for_the_token(service: Container) -> None:
    bearer = container.bearer(service)
    for path in ("/livez", "/readyz", "/healthz"):
        assert container.status(service.url + path) == 200
    for path in ("/metrics", "/info", "/docs.json"):
        assert container.status(service.url + path) == 401
        assert container.status(service.url + path, bearer) == 200


def test_the_openapi_document_has_the_example(service: Container) -> None:
    _, document = container.request(service.url + "/docs.json", TOKEN)
    schema = document["paths"]["/multiply"]["post"]["requestBody"]["content"]
    assert schema["application/json"]["schema"]["example"] == {"number": 2.5}


def test_an_answer_that_takes_too_long_is_504_with_its_request_id(service: Container) -> None:
    begin = time.monotonic()
    status, answer = ask(service, 1.8)
    assert status == 504 and answer["error"] == "was not answered within 1 s"
    assert re.fullmatch("[0-9a-f]{40}", answer["request_id"]) and time.monotonic() - begin < 1.6
    assert ask(service, 0)[0] == 200


def test_an_answer_that_has_begun_may_take_its_time() -> None:
    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        for kind in ("start", "body", "body"):
            await send({"type": f"http.response.{kind}"})
            await asyncio.sleep(0.2)

    async def run() -> list[str]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await edge.TimeLimit(slowly, 0.1)({"type": "http"}, None, send)  # type: ignore[arg-type]
        return sent

    assert len(asyncio.run(run())) == 3


def test_told_to_stop_it_answers_what_has_begun_and_ends_with_code_0(tmp_path: Path) -> None:
    shipped.write(tmp_path, {"name": "demo"})
    params.write_json(tmp_path / "provenance.json", {"model_version": "abc", "bento": "demo:1"})
    with served(tmp_path, SERVICE_TOKEN=TOKEN) as service:
        body = b'{"number": 2}'
        connections = [begun(service, "/multiply", body) for _ in range(3)]
        in_progress(service, 3)
        os.kill(int(service.identity), signal.SIGTERM)
        while container.status(service.url + "/readyz", seconds=0.5) == 200:
            time.sleep(0.05)
        for connection in connections:
            complete(connection, body)
        assert [answered(connection) for connection in connections] == [200] * 3
        assert os.waitpid(int(service.identity), 0)[1] == 0


def test_without_a_token_it_does_not_open_beyond_loopback(tmp_path: Path) -> None:
    shipped.write(tmp_path, {"name": "demo"})
    params.write_json(tmp_path / "provenance.json", {"model_version": "abc", "bento": "demo:1"})
    with pytest.raises(RuntimeError, match="without a token"), served(tmp_path):
        pass


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "shared.edge", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode != 0 and "Address already in use" in done.stderr
