"""How fast is a service, against the same model behind MLflow's server and the physical limit?

One run measures all of them in turns, so that noise of the machine meets them alike.
Only ratios travel.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Load:
    """What a candidate did in one measurement; times in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], health: str, log: Path, seconds: float = 120, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a child process, from its first healthy answer to the end of the block.

    `options` go to subprocess.Popen.
    Raises RuntimeError with the end of its log when it stops or stays silent for `seconds`.
    """
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    deadline = time.monotonic() + seconds
    try:
        while not _answers(health):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 (our own server)
            return bool(response.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def servers(
    service: Path, save_peer: Callable[[Path], None], workers: int
) -> Iterator[tuple[str, str]]:
    """The service in a blueprint's folder, and the same model behind `mlflow models serve`.

    save_peer: writes MLflow's model to the folder it is given. Gives both addresses.
    """
    os.environ.pop("SERVICE_TOKEN", None)
    ports = [str(free_port()) for _ in range(2)]
    ours, theirs = (f"http://127.0.0.1:{port}" for port in ports)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_peer(folder / "peer")
        serve = ["bentoml", "serve", "service", "--working-dir", str(service), "--port", ports[0]]
        peer = ["mlflow", "models", "serve", "--model-uri", str(folder / "peer")]
        peer += ["--port", ports[1], "--env-manager", "local", "--workers", str(workers)]
        with (
            running(serve, ours + "/readyz", folder / "service.log"),
            running(peer, theirs + "/ping", folder / "peer.log"),
        ):
            yield ours, theirs


def requests(url: str, bodies: Sequence[bytes], kind: str, clients: int, seconds: float) -> Load:
    """POST the bodies in turn from `clients` connections for `seconds`.

    Raises RuntimeError on an answer but 200.
    """
    return asyncio.run(_requests(url, bodies, kind, clients, seconds))


async def _requests(
    url: str, bodies: Sequence[bytes], kind: str, clients: int, seconds: float
) -> Load:
    import aiohttp

    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession, first: int) -> None:
        number = first
        while (begin := time.perf_counter()) < end:
            async with session.post(
                url, data=bodies[number % len(bodies)], headers={"content-type": kind}
            ) as response:
                content = await response.read()
                if response.status != 200:
                    raise RuntimeError(f"{url} answered {response.status}: {content[:300]!r}")
            taken.append(time.perf_counter() - begin)
            number += clients

    connector = aiohttp.TCPConnector(limit=clients)
    begin = time.perf_counter()
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for first in range(clients):
            group.create_task(client(session, first))
    return _load(taken, time.perf_counter() - begin)


def calls(
    function: Callable[[Any], Any], inputs: Sequence[Any], threads: int, seconds: float
) -> Load:
    """Call `function` on the inputs in turn from `threads` threads for `seconds`; no server."""
    begin = time.perf_counter()
    end = begin + seconds

    def worker(first: int) -> list[float]:
        taken, number = [], first
        while (start := time.perf_counter()) < end:
            function(inputs[number % len(inputs)])
            taken.append(time.perf_counter() - start)
            number += threads
        return taken

    with ThreadPoolExecutor(threads) as pool:
        taken = [value for part in pool.map(worker, range(threads)) for value in part]
    return _load(taken, time.perf_counter() - begin)


def _load(taken: Sequence[float], seconds: float) -> Load:
    p50, p99 = np.quantile(np.array(taken) * 1e3, [0.5, 0.99])
    return Load(len(taken) / seconds, float(p50), float(p99))


def in_turns(candidates: dict[str, Callable[[], Load]], rounds: int = 3) -> dict[str, Load]:
    """Each candidate's round with the median rate; a first round warms up and is not counted."""
    results: dict[str, list[Load]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, measure in candidates.items():
            print(f"round {number} of {rounds}: {name}", file=sys.stderr)
            result = measure()
            if number:
                results[name].append(result)
    return {
        name: sorted(loads, key=lambda load: load.requests_per_second)[len(loads) // 2]
        for name, loads in results.items()
    }


def table(results: dict[str, Load], limit: str) -> str:
    """Markdown; the share is the rate over that of the candidate `limit`."""
    head = "| candidate | requests/s | p50 ms | p99 ms | share of the limit |"
    rows = [head, "|---|---|---|---|---|"]
    for name, load in results.items():
        rate = load.requests_per_second
        share = rate / results[limit].requests_per_second
        times = f"{load.p50_ms:.1f} | {load.p99_ms:.1f}"
        rows.append(f"| {name} | {rate:.0f} | {times} | {share:.2f} |")
    return "\n".join(rows)
