"""Starts a standalone stack beside any other, proves that its parts work together, takes it away.

python -m shared.smoke run --target standalone      in a blueprint's folder, after images build
"""

import argparse
import contextlib
import json
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared import (
    benchmark,
    compose,
    container,
    deploying,
    engine,
    images,
    params,
    smoke,
    standalone,
)
from shared.container import Container, expect

STARTS_S, SEEN_S = 600.0, 120.0
PORTS = ("SERVICE_PORT", "MLFLOW_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")
OVERRIDE = {"services": {"service": {"environment": {"SERVICE_MAX_AGE_STEPS": "null"}}}}
VOLUMES = ("down", "--volumes", "--remove-orphans", "--timeout", "30")


@contextlib.contextmanager
def up(folder: Path, project: str) -> Iterator[compose.Stack]:
    """A stack of its own files, volumes, ports and name; it and they are gone at the end."""
    place = folder / "dist/smoke"
    shutil.rmtree(place, ignore_errors=True)
    named = deploying.values(folder, "standalone", engine.native())
    standalone.write(folder, place, named)
    # Held-out data are old.
    params.write_json(place / "smoke.json", OVERRIDE)
    variables = {name: str(benchmark.free_port()) for name in PORTS}
    variables |= {"COMPOSE_PROJECT_NAME": project, **standalone.watchers()}
    stack = compose.Stack(place, "smoke.json", **variables)
    try:
        stack.run("up", "--detach")
        yield stack
    finally:
        stack.run(*VOLUMES)
        shutil.rmtree(place)


def url(stack: compose.Stack, name: str) -> str:
    return f"http://127.0.0.1:{stack.settings[f'{name.upper()}_PORT']}"


def service(stack: compose.Stack, ready_s: float = 0) -> Container:
    """The service, as the smoke test of a single image sees it."""
    token = stack.settings["SERVICE_TOKEN"]
    return Container(stack.identity("service"), url(stack, "service"), token, ready_s)


def ask(address: str, body: Any = None) -> Any:
    """JSON of a GET, or of a POST of JSON."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, content, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 (our own stack)
        return json.loads(response.read() or b"null")


def locked(stack: compose.Stack) -> None:
    """None is root, writes to its root, gains rights or takes all memory; only loopback is open."""
    for name, one in stack.containers().items():
        host = one["HostConfig"]
        expect(one["Config"]["User"].split(":")[0] not in ("", "0", "root"), f"{name} runs as root")
        expect(host["ReadonlyRootfs"], f"{name}: the root file system is not read-only")
        expect(host["CapDrop"] == ["ALL"], f"{name} has capabilities")
        expect("no-new-privileges:true" in (host["SecurityOpt"] or []), f"{name} may gain rights")
        expect(host["Memory"], f"{name} has no limit of memory")
        wanted = "no" if name == "bootstrap" else "unless-stopped"
        expect(host["RestartPolicy"]["Name"] == wanted, f"{name} is not started again")
        found = [one for ports in (host["PortBindings"] or {}).values() for one in ports]
        addresses = {port["HostIp"] for port in found}
        expect(addresses == ({"127.0.0.1"} if name == "gateway" else set()), f"{name}: {addresses}")


def inside(stack: compose.Stack) -> None:
    """Every container but the gateway is only on networks without a way out."""
    for name, one in stack.containers().items():
        for network in [] if name == "gateway" else one["NetworkSettings"]["Networks"]:
            internal = engine.docker("network", "inspect", "--format", "{{.Internal}}", network)
            expect(internal == "true", f"{name} is on {network}, which leads out")


def until(what: str, holds: Any, seconds: float = SEEN_S) -> None:
    """Raises SystemExit unless `holds()` within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < deadline, f"{what}: not within {seconds:g} s")
        time.sleep(1)


def watched(stack: compose.Stack, chain: dict[str, Any]) -> None:
    """Prometheus reads service and monitor, and knows who takes alerts to the worker's log."""
    prometheus = url(stack, "prometheus") + "/api/v1"

    def targets() -> bool:
        found = ask(f"{prometheus}/targets")["data"]["activeTargets"]
        return sorted((one["labels"]["job"], one["health"]) for one in found) == [
            ("monitor", "up"),
            ("service", "up"),
        ]

    until("Prometheus reads service and monitor", targets)
    managers = ask(f"{prometheus}/alertmanagers")["data"]["activeAlertmanagers"]
    expect(len(managers) == 1, f"Prometheus tells {managers}")

    def sizes() -> list[float]:
        found = ask(f"{prometheus}/query?query=monitor_log_bytes")["data"]["result"]
        return [size for one in found if (size := float(one["value"][1]))]

    until("the monitor sees the log", sizes)
    labels = {"alertname": "Smoke", "service": chain["name"], "action": "ticket"}
    ask(url(stack, "alertmanager") + "/api/v2/alerts", [{"labels": labels}])
    until("an alert reaches the worker", lambda: "Smoke" in told(stack))


def told(stack: compose.Stack) -> str:
    """The worker's audit log."""
    read = "from shared import audit; from pathlib import Path; print(audit.read(Path('live')))"
    return engine.docker("exec", stack.identity("worker"), "python3", "-c", read)


def champion(stack: compose.Stack, name: str) -> dict[str, str]:
    """The tags of the version that the registry's alias champion names."""
    path = f"/api/2.0/mlflow/registered-models/alias?name={name}&alias=champion"
    found = ask(url(stack, "mlflow") + path)["model_version"]
    return {tag["key"]: tag["value"] for tag in found["tags"]}


def run(folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    """All of it; gives what was measured, which is also kept in dist/."""
    chain = images.provenance(folder)
    for kind in ("cloud", "worker"):
        name = images.tag(chain, kind, engine.native())
        if not engine.works("image", "inspect", name):
            wanted = f"make image B={folder.resolve().name} TARGET=standalone"
            raise SystemExit(f"{name} is not built yet; run: {wanted}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stack is taken away
    with up(folder, f"{chain['name']}-smoke") as stack:
        figures = {"ready_s": stack.wait(STARTS_S), **prove(folder, stack, asked)}
    params.write_json(folder / "dist/standalone.json", figures)
    images.check(folder, "standalone", figures)
    return figures


def prove(folder: Path, stack: compose.Stack, asked: argparse.Namespace) -> dict[str, float]:
    """Locked up, right, registered, watched. Raises SystemExit with what is not."""
    locked(stack)
    inside(stack)
    chain, served = images.provenance(folder), service(stack)
    with smoke.reference(folder, served.token, SERVICE_MAX_AGE_STEPS="null") as other:
        smoke.answers(served, other, chain, emulated=False)
        tee = smoke.compared(served, other, folder, asked)
    found = champion(stack, chain["name"]).get("model_version")
    expect(found == chain["model_version"], f"the registry's champion is {found}")
    watched(stack, chain)
    return {"answers": tee.asked, "latency_p95_ms": tee.p95_ms, **memory(stack)}


def memory(stack: compose.Stack) -> dict[str, float]:
    """MB of each container with Python, and of all of them."""
    names = ("service", "mlflow", "worker", "monitor", "gateway")
    found = {f"{name}_mb": container.memory_mb(stack.identity(name)) for name in names}
    return {**found, "python_mb": sum(found.values())}
