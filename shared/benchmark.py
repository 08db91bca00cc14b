"""How fast is a service, against the same model in FastAPI and MLflow's server, and the limit?

One run measures all of them in turns, so that noise of the machine meets them alike.
Only ratios travel.
"""

import argparse
import contextlib
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shared.loads import Load, requests
from shared.loads import calls as calls


class Asked(NamedTuple):
    """What a server is asked, in turn."""

    server: str  # service | fastapi | mlflow
    path: str
    bodies: list[bytes]
    kind: str = "application/json"


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
def servers(folder: Path, save_peer: Callable[[Path], None]) -> Iterator[dict[str, str]]:
    """Addresses by name of who answers for the model of the blueprint in `folder`: a process each.

    service   its service
    fastapi   `plain` of its bench.py: the model in FastAPI, as anybody would write it first
    mlflow    `mlflow models serve`; save_peer writes its model
    """
    os.environ.pop("SERVICE_TOKEN", None)
    ports = {name: str(free_port()) for name in ("service", "fastapi", "mlflow")}
    found = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with tempfile.TemporaryDirectory() as temporary:
        logs = Path(temporary)
        save_peer(logs / "model")
        own = os.environ | {"BENTOML_HOME": str(logs), "SERVICE_LOG_FOLDER": str(logs)}
        serve = ["bentoml", "serve", "service", "--working-dir", str(folder)]
        serve += ["--port", ports["service"]]
        plain = ["uvicorn", "--factory", "bench:plain", "--app-dir", str(folder)]
        plain += ["--port", ports["fastapi"], "--no-access-log"]
        mlflow = ["mlflow", "models", "serve", "--model-uri", str(logs / "model")]
        mlflow += ["--port", ports["mlflow"], "--env-manager", "local"]
        with (
            running(serve, found["service"] + "/readyz", logs / "service.log", env=own),
            running(plain, found["fastapi"] + "/openapi.json", logs / "fastapi.log"),
            running(mlflow, found["mlflow"] + "/ping", logs / "mlflow.log"),
        ):
            yield found


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


def arguments(description: str | None, seconds: float = 5) -> argparse.Namespace:
    """The options of every bench.py."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    standard = "(default: %(default)s)"
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of each load {standard}")
    parser.add_argument("--rounds", type=int, default=3, help=f"turns of all loads {standard}")
    return parser.parse_args()


def run(
    given: argparse.Namespace,
    addresses: dict[str, str],
    limits: dict[str, Callable[[], Load]],
    asked: dict[str, Asked],
    clients: Sequence[int] = (1, 8, 32),
) -> dict[str, Load]:
    """Measure all in turns and print the table: `limits` without a server, then who is asked.

    Every candidate of `asked` is measured with each number of clients.
    """

    def load(one: Asked, number: int) -> Load:
        url = addresses[one.server] + one.path
        return requests(url, one.bodies, one.kind, number, given.seconds)

    candidates = dict(limits)
    for number in clients:
        ending = f", {number} client{'s' if number > 1 else ''}"
        for name, one in asked.items():
            candidates[name + ending] = functools.partial(load, one, number)
    results = in_turns(candidates, given.rounds)
    print(table(results, next(iter(limits))), flush=True)
    return results
