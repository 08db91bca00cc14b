"""A service's container, locked up as an operator would: what the smoke test looks at.

Not root, no capabilities, no way to new ones, the root file system read-only with /tmp in memory
and /logs as a volume, one port on loopback.
"""

import contextlib
import json
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared import engine

LOCKED = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]  # noqa: S108
LOCKED += ["--security-opt", "no-new-privileges", "--pids-limit", "200"]
# What an emulated ONNX Runtime would read of the processor below is nonsense to it, and it crashes.
CPUINFO = engine.DEPLOY / "cpuinfo.arm64"
PATIENCE_S = 600  # with one answer: a language model on an emulated processor takes minutes
# KiB of all processes but the one that asks; what several share is divided among them.
TAKEN = """
import os, pathlib
total = 0
for path in pathlib.Path("/proc").glob("[0-9]*/smaps_rollup"):
    try:
        lines = path.read_text().splitlines() if path.parent.name != str(os.getpid()) else []
    except OSError:  # one that just begins or ends
        continue
    total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
print(total)
"""


class Container(NamedTuple):
    """A running service: its container's id, address, bearer token, seconds until it was ready."""

    identity: str
    url: str
    token: str
    ready_s: float


@contextlib.contextmanager
def running(
    name: str, platform: str, seconds: float, *more: str, **variables: str
) -> Iterator[Container]:
    """The image `name` as a service, from its first healthy answer to the end of the block.

    more: options of docker run; variables: of the environment. Raises SystemExit for an image of
    another platform, and with the end of its log when it stops or stays silent for `seconds`.
    """
    found = engine.docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", name)
    if found != platform:
        raise SystemExit(f"{name} is for {found}, wanted {platform}; build it for that one")
    token, begin = secrets.token_hex(16), time.monotonic()
    options = [*LOCKED, "--platform", platform, "--publish", "127.0.0.1::3000", *more]
    if platform != engine.native():
        options += ["--volume", f"{CPUINFO}:/proc/cpuinfo:ro"]
    for key, value in {"SERVICE_TOKEN": token, **variables}.items():
        options += ["--env", f"{key}={value}"]
    identity = engine.docker("run", "--detach", *options, name)
    try:
        if not engine.works("port", identity, "3000/tcp"):  # it has ended already
            raise SystemExit(f"the container stopped:\n{log(identity)[-2000:]}")
        address = engine.docker("port", identity, "3000/tcp").splitlines()[0]
        url = f"http://{address}"
        wait(identity, url, begin + seconds)
        yield Container(identity, url, token, time.monotonic() - begin)
    except BaseException:
        if inspect(identity, "State.OOMKilled") == "true":
            most = int(inspect(identity, "HostConfig.Memory")) / 1e6
            raise SystemExit(f"{name} was killed at its limit of {most:g} MB of memory") from None
        raise
    finally:
        engine.docker("rm", "--force", "--volumes", identity, quiet=True)


def wait(identity: str, url: str, deadline: float) -> None:
    while status(url + "/readyz") != 200:
        alive = inspect(identity, "State.Running") == "true"
        if not alive or time.monotonic() > deadline:
            told = "does not answer" if alive else "stopped"
            raise SystemExit(f"the container {told}:\n{log(identity)[-2000:]}")
        time.sleep(0.05)


def status(url: str, headers: dict[str, str] | None = None, seconds: float = 5) -> int:
    """The status of a GET; 0 where nothing answers within `seconds`."""
    try:
        request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 (ours)
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def inspect(identity: str, field: str) -> str:
    """A field of `docker inspect`, e.g. State.ExitCode."""
    return engine.docker("inspect", "--format", f"{{{{.{field}}}}}", identity)


def log(identity: str) -> str:
    """All that the container has said."""
    return engine.docker("logs", identity, stderr=subprocess.STDOUT)


def inside(container: Container, expression: str) -> Any:
    """The value of a Python expression in the container, as its user."""
    code = f"import os, json, shutil, pathlib; print(json.dumps({expression}))"
    return json.loads(engine.docker("exec", container.identity, "python3", "-c", code))


def healthy(container: Container) -> bool:
    """Does the image's own health check pass?"""
    command = json.loads(
        engine.docker(
            "inspect", "--format", "{{json .Config.Healthcheck.Test}}", container.identity
        )
    )
    return engine.works("exec", container.identity, *command[1:])


def memory_mb(identity: str) -> float:
    """The memory that the processes of a container take now, libraries included, in MB.

    Not what the kernel keeps of files that they have read: it takes that back when memory is short,
    and counts it for whoever read the file first.
    """
    return int(engine.docker("exec", identity, "python3", "-c", TAKEN)) * 1024 / 1e6


def limited(megabytes: float | None) -> list[str]:
    """Options of docker run: the kernel ends what takes more."""
    most = f"{int(megabytes * 1e6)}b" if megabytes else ""
    return ["--memory", most, "--memory-swap", most] if most else []


def bearer(service: Container) -> dict[str, str]:
    return {"authorization": f"Bearer {service.token}"}


def request(url: str, token: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of a GET, or of a POST of JSON."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    asked = urllib.request.Request(url, body, headers)  # noqa: S310 (our own service)
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as response:  # noqa: S310
            return int(response.status), json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def expect(holds: object, what: str) -> None:
    """Raises SystemExit with `what` was found instead, unless it holds."""
    if not holds:
        raise SystemExit(f"smoke: {what}")
