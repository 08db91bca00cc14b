"""Every service with its real model, as it is deployed: started, described, asked by many."""

import asyncio
import json
import os
import shutil
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil
import pytest

from shared import benchmark, params, provenance

ROOT = Path(__file__).parent.parent
NAMES = sorted(path.parent.name for path in ROOT.glob("blueprints/*/service.py"))
ROUTES = {"cv": "/classify", "timeseries": "/forecast", "rl": "/act", "genai": "/extract"}


class Service(NamedTuple):
    """A running service: its folder of logs and models, its question, and limits."""

    url: str
    route: str
    folder: Path
    process: psutil.Process
    question: dict[str, Any]
    limits: dict[str, Any]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)


def deploy(blueprint: Path, live: Path) -> None:
    """The blueprint's export as the model that `live/current` names."""
    chain = provenance.collect(blueprint)
    model = live / "models" / chain["model_version"]
    shutil.copytree(blueprint / "export", model)
    params.write_json(model / "provenance.json", chain)
    (live / "current").write_text(chain["model_version"] + "\n")


def start(name: str, folder: Path, **variables: str) -> Any:
    """Address and context of a blueprint's service; logs and models are in `folder`."""
    blueprint = ROOT / "blueprints" / name
    if not (blueprint / "export/model.json").exists():
        pytest.fail(f"blueprints/{name} has no export: make demo B={name}")
    live = folder / "live"
    if not live.exists():
        deploy(blueprint, live)
    own = {key: value for key, value in os.environ.items() if "SERVICE_" not in key} | {
        "BENTOML_HOME": str(folder / "bentoml"),
        "MODEL_POINTER": str(live / "current"),
        "SERVICE_LOG_FOLDER": str(folder / "logs"),
        **variables,
    }
    url = f"http://127.0.0.1:{benchmark.free_port()}"
    command = ["bentoml", "serve", "service", "--port", url.rpartition(":")[2]]
    return url, benchmark.running(
        command, url + "/readyz", folder / "service.log", cwd=blueprint, env=own
    )


def described(name: str, url: str, folder: Path, process: Any, token: str = "") -> Service:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url + "/docs.json", headers=headers)
    with urllib.request.urlopen(request) as response:
        paths = json.load(response)["paths"]
    body = paths[ROUTES[name]]["post"]["requestBody"]["content"]["application/json"]
    limits = params.load_yaml(ROOT / "blueprints" / name / "params.yaml")["service"]
    parent = psutil.Process(process.pid)
    return Service(url, ROUTES[name], folder, parent, body["schema"]["example"], limits)


async def ask(session: aiohttp.ClientSession, given: Service, **headers: str) -> Any:
    """Status, headers and content of one question; status 0 without an answer."""
    try:
        async with session.post(
            given.url + given.route, json=given.question, headers=headers
        ) as found:
            return found.status, found.headers, await found.read()
    except (aiohttp.ClientError, TimeoutError):
        return 0, {}, b""


async def load(
    given: Service,
    clients: int,
    seconds: float,
    pause: float = 0.05,
    found: list[Any] | None = None,
) -> list[Any]:
    """(seconds, status, headers, content) of all that so many clients asked, as they come.

    Who is refused asks again when Retry-After says so, without it after a pause.
    """
    end, found = time.monotonic() + seconds, [] if found is None else found

    async def client(session: aiohttp.ClientSession) -> None:
        while (begin := time.monotonic()) < end:
            answer = await ask(session, given)
            found.append((time.monotonic() - begin, *answer))
            if answer[0] != 200:
                await asyncio.sleep(float(answer[1].get("retry-after", pause)))

    connector = aiohttp.TCPConnector(limit=clients)
    limit = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return found


def good(given: Service) -> float:
    """Seconds of a good request, which is answered."""

    async def once() -> int:
        async with aiohttp.ClientSession() as session:
            return int((await ask(session, given))[0])

    begin = time.monotonic()
    assert asyncio.run(once()) == 200
    return time.monotonic() - begin


def metric(given: Service, name: str) -> float:
    with urllib.request.urlopen(given.url + "/metrics") as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def family(given: Service) -> list[psutil.Process]:
    """All processes of the service."""
    return [given.process, *given.process.children(recursive=True)]


def megabytes(given: Service) -> float:
    return sum(one.memory_info().rss for one in family(given)) / 1e6


def files_and_threads(given: Service) -> tuple[int, int]:
    found = family(given)
    return sum(one.num_fds() for one in found), sum(one.num_threads() for one in found)
