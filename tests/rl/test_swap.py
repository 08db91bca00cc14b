"""The real service under load while the model it serves is exchanged: no request fails."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rl import policies
from shared import benchmark, params, requestlog

pytestmark = pytest.mark.fault
ROOT = Path(__file__).parent.parent.parent
QUESTION = {"prices": [30.0 + hour % 24 for hour in range(168)], "charge_mwh": 2.0}
CLIENTS, REQUESTS, FLIPS = 4, 500, 6


class Service:
    """The blueprint's code with a small policy, and two copies of its export to deploy."""

    def __init__(self, folder: Path, export: Path) -> None:
        self.folder, self.live = folder, folder / "live"
        shutil.copytree(export, folder / "export")
        for pattern in ("*.py", "params.yaml", "requirements-serve.txt"):
            for path in (ROOT / "blueprints/rl").glob(pattern):
                shutil.copy(path, folder)
        chain = {"name": "battery-dispatch", "model_version": "packaged", "bento": "none"}
        params.write_json(folder / "provenance.json", chain)
        for name in ("v1", "v2"):
            model = self.live / "models" / name
            shutil.copytree(folder / "export", model)
            params.write_json(model / "provenance.json", chain | {"model_version": name})
        self.url = f"http://127.0.0.1:{benchmark.free_port()}"

    def deploy(self, name: str) -> None:
        (self.live / "draft").write_text(name + "\n")
        (self.live / "draft").replace(self.live / "current")

    async def page(self) -> dict[str, float]:
        """The samples on /metrics."""
        async with aiohttp.ClientSession() as session, session.get(self.url + "/metrics") as found:
            lines = (await found.text()).splitlines()
        samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return {name: float(value) for name, _, value in samples}

    async def version(self) -> str:
        """The version that one of the workers serves, asked by a new connection."""
        async with aiohttp.ClientSession() as session, session.get(self.url + "/info") as found:
            return str((await found.json())["model_version"])


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    env, market = policies.environment()
    policies.exported(folder, env, market, policies.config())
    return folder


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def service(
    request: pytest.FixtureRequest, export: Path, tmp_path: Path
) -> Iterator[tuple[Service, int]]:
    made = Service(tmp_path / "app", export)
    made.deploy("v1")
    own = {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(tmp_path / "bentoml")}
    own["BENTOML_CONFIG_OPTIONS"] = f'services."battery-dispatch".workers={request.param}'
    own["MODEL_POINTER"] = str(made.live / "current")
    command = ["bentoml", "serve", "service", "--port", made.url.rpartition(":")[2]]
    environment = {key: value for key, value in os.environ.items() if "SERVICE_" not in key} | own
    with benchmark.running(
        command, made.url + "/readyz", tmp_path / "log", cwd=made.folder, env=environment
    ):
        yield made, request.param


async def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def load(service: Service, done: asyncio.Event, seen: list[str], ids: list[str]) -> None:
    """One connection that asks until it is done; its versions in order, without repetition."""
    async with aiohttp.ClientSession() as session:
        while not done.is_set():
            async with session.post(service.url + "/act", json=QUESTION) as response:
                answer = await response.json()
                assert response.status == 200, answer
            ids.append(answer["request_id"])
            if seen[-1:] != [answer["model_version"]]:
                seen.append(answer["model_version"])


def test_models_are_exchanged_under_load_and_broken_ones_refused(
    service: tuple[Service, int],
) -> None:
    made, workers = service

    async def serves(version: str) -> bool:
        info = 'service_model_info{model_version="%s"}'
        page = await made.page()
        others = [page[info % name] for name in ("packaged", "v1", "v2") if name != version]
        return page.get(info % version) == 1 and not any(others)

    async def run() -> None:
        assert await made.version() == "v1", "from the first request on"
        done, seen, ids = asyncio.Event(), [[] for _ in range(CLIENTS)], []
        async with asyncio.TaskGroup() as clients:
            for versions in seen:
                clients.create_task(load(made, done, versions, ids))
            flips = 0
            while len(ids) < REQUESTS or flips < FLIPS:
                flips += 1
                made.deploy(name := ("v2" if flips % 2 else "v1"))
                await until(lambda name=name: serves(name))
            done.set()
        expected = ["v1", *(["v2", "v1"] * flips)][: flips + 1]
        assert all(versions == expected for versions in seen), "never back by itself"
        assert len(set(ids)) == len(ids) >= REQUESTS
        await check(ids, expected[-1])

    async def check(ids: list[str], last: str) -> None:
        """Log and metrics know each request once; a broken model changes nothing."""
        records = list(requestlog.read(made.folder / "logs", "requests"))
        assert Counter(row["id"] for row in records) == Counter(ids)
        assert {row["model"] for row in records} == {"v1", "v2"}
        name = 'service_request_seconds_count{path="/act",status="2xx"}'

        async def counted() -> bool:  # an answer is counted when it is out
            return (await made.page())[name] == len(ids)

        await until(counted)
        page = await made.page()
        assert page["service_log_dropped_total"] == page["service_model_load_failed_total"] == 0
        assert page["service_requests_in_progress"] == 0 and "bentoml" not in " ".join(page)
        shutil.copytree(made.live / "models/v1", made.live / "models/v3")
        graph = made.live / "models/v3/policy.onnx"
        graph.write_bytes(graph.read_bytes()[:1000])
        made.deploy("v3")

        async def refused() -> bool:
            return (await made.page())["service_model_load_failed_total"] == workers

        await until(refused)
        assert await made.version() == last and await serves(last)

    asyncio.run(run())
