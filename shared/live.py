"""The live loop on one machine, without containers: service, monitor, Prometheus, Alertmanager.

python -m shared.live run                       until Ctrl-C, with held-out data as traffic
python -m shared.live simulate --shift darker   usual traffic, then a shift, until it is answered

A simulation keeps everything in simulated/, also its registry: nothing of it reaches `live/`.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from shared import audit, objectives, params, releasing
from shared.benchmark import free_port, running

TOOLS = ("prometheus", "prometheus-alertmanager")


class Ports(NamedTuple):
    service: int = 3000
    monitor: int = 9464
    prometheus: int = 9090
    alertmanager: int = 9093
    actions: int = 9099


class Stack(NamedTuple):
    """What runs: addresses by name, and the folder that it writes."""

    ports: Ports
    live: Path

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{getattr(self.ports, name)}"


def commands(stack: Stack, every: float, actions: list[str]) -> dict[str, tuple[list[str], str]]:
    """Name -> command, and the address that answers once it is up; in the order of their start."""
    ports, live, python = stack.ports, stack.live, sys.executable
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports._asdict().items()}
    service = [python, "-m", "bentoml", "serve", "service", "--port", str(ports.service)]
    monitor = [python, "monitor.py", "--every", str(every), "--port", str(ports.monitor)]
    monitor += ["--live", str(live), "--logs", str(live / "logs"), "--service", str(ports.service)]
    monitor += ["--prometheus", stack.url("prometheus")]
    act = [python, "-m", "shared.actions", "--port", str(ports.actions), "--live", str(live)]
    act += ["--service", stack.url("service"), *actions]
    manager = ["prometheus-alertmanager", f"--config.file={live / 'compiled/alertmanager.yml'}"]
    manager += [f"--storage.path={live / 'alertmanager'}", "--cluster.listen-address="]
    manager += [f"--web.listen-address={addresses['alertmanager']}"]
    prometheus = ["prometheus", f"--config.file={live / 'compiled/prometheus.yml'}"]
    prometheus += [f"--storage.tsdb.path={live / 'prometheus'}"]
    prometheus += [f"--web.listen-address={addresses['prometheus']}"]
    return {
        "service": (service, stack.url("service") + "/readyz"),
        "monitor": (monitor, stack.url("monitor") + "/metrics"),
        "actions": (act, stack.url("actions") + "/livez"),
        "alertmanager": (manager, stack.url("alertmanager") + "/-/ready"),
        "prometheus": (prometheus, stack.url("prometheus") + "/-/ready"),
    }


def compile_for(stack: Stack, interval: float) -> None:
    """Rules, routes and scrape targets for these ports."""
    command = [sys.executable, "-m", "shared.objectives", "compile", "--live", str(stack.live)]
    for name in ("service", "monitor", "alertmanager", "actions"):
        command += [f"--{name}", stack.url(name).removeprefix("http://")]
    if file := os.environ.get("SERVICE_TOKEN_FILE"):
        command += ["--token-file", file]
    subprocess.run([*command, "--interval", f"{interval:g}s"], check=True)


@contextlib.contextmanager
def stack_of(
    live: Path, ports: Ports, interval: float, every: float, actions: list[str]
) -> Iterator[Stack]:
    """All five running, each with its own log in live/; all stopped at the end."""
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        raise SystemExit(f"{', '.join(missing)} not found: run `make tools` (Debian's packages)")
    if not Path("export/model.json").exists():
        raise SystemExit("no export/model.json here: run `dvc repro` first")
    stack = Stack(ports, live)
    live.mkdir(exist_ok=True)
    if not (live / "current").exists():
        releasing.deploy(Path("export"), live)
    compile_for(stack, interval)
    own = {"SERVICE_LOG_FOLDER": str(live / "logs"), "SERVICE_LOG_INPUTS": "true"}
    own["MODEL_POINTER"] = str(live.resolve() / "current")
    # BentoML empties the metrics of another service that shares its folder.
    own |= {"BENTOML_HOME": str(live.resolve() / "bentoml")}
    with contextlib.ExitStack() as started:
        for name, (command, health) in commands(stack, every, actions).items():
            log = live / f"{name}.log"
            started.enter_context(running(command, health, log, env=os.environ | own))
            print(f"live: {name} on {stack.url(name)}, log in {log}", flush=True)
        yield stack


@contextlib.contextmanager
def traffic(stack: Stack, shift: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The blueprint's traffic.py as a process; asked to end, it says what it has sent."""
    command = [sys.executable, "traffic.py", "--url", stack.url("service"), "--shift", shift]
    own = os.environ | {audit.FOLDER: str(stack.live.resolve())}
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=own)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        print(process.communicate(timeout=90)[0], flush=True)


def wait(stack: Stack, done: Any, seconds: float) -> bool:
    """Show the audit log as it grows until `done(events)`, at most `seconds`."""
    deadline, shown = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        lines = audit.read(stack.live)
        for line in lines[shown:]:
            details = {key: value for key, value in line.items() if key not in ("time", "event")}
            print(f"live: {line['event']} {details}", flush=True)
        shown = len(lines)
        if done([line["event"] for line in lines]):
            return True
        time.sleep(0.5)
    return False


def windows(live: Path) -> int:
    """The fewest complete windows that any key result has."""
    loaded = objectives.load()
    values = params.read_json(live / "values.json") if (live / "values.json").exists() else {}
    asked = [result.id for result in loaded.key_results if result.count]
    return min((values.get(name, {}).get("windows", 0) for name in asked), default=0)


def newest_metrics(live: Path) -> str:
    values = params.read_json(live / "values.json")
    return ", ".join(f"{name} {one:.3g}" for name, one in values.items() if isinstance(one, float))


def run(asked: argparse.Namespace) -> int:
    with (
        stack_of(Path("live"), Ports(), 5, 10, []) as stack,
        traffic(stack, asked.shift, *asked.options) as sender,
        contextlib.suppress(KeyboardInterrupt),
    ):
        print("live: live/report.html shows how it is doing; Ctrl-C ends it", flush=True)
        wait(stack, lambda events: sender.poll() is not None, float("inf"))
    return 0


def simulate(asked: argparse.Namespace) -> int:
    """1 where the shift was not answered, or an alert came without one."""
    live = Path("simulated")
    shutil.rmtree(live, ignore_errors=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{(live / 'mlflow.db').resolve()}"
    with stack_of(live, Ports(*[free_port() for _ in Ports._fields]), 1, 1, []) as stack:
        with traffic(stack, "none", *asked.options):
            usual = wait(stack, lambda events: windows(live) >= asked.windows, asked.seconds)
        quiet = "alert" not in [line["event"] for line in audit.read(live)]
        if not usual or not quiet or asked.shift == "none":
            said = "no alert" if quiet else "an alert although nothing had shifted"
            print(f"simulate: {windows(live)} windows of usual traffic, {said}")
            return 0 if usual and quiet else 1
        ends = {"retrain_finished", "retrain_failed", "refused"}
        with traffic(stack, asked.shift, *asked.options):
            found = wait(stack, lambda events: bool(ends & set(events)), asked.seconds)
            if "retrain_finished" in [line["event"] for line in audit.read(live)]:
                before = windows(live)  # the next ones are of the new model
                wait(stack, lambda _: windows(live) > before, asked.seconds)
                print(f"simulate: now {newest_metrics(live)}", flush=True)
    events = [line["event"] for line in audit.read(live)]
    print(f"simulate: {' -> '.join(events)}")
    return 0 if found and "served" in events else 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "simulate"])
    parser.add_argument("--shift", default="none", help="what happens to the traffic: traffic.py")
    parser.add_argument("--rate", type=float, help="requests per second; without it, traffic.py's")
    parser.add_argument("--windows", type=int, default=5, help="of usual traffic before the shift")
    parser.add_argument("--seconds", type=float, default=3600, help="at most, of each part")
    asked = parser.parse_args()
    asked.options = ["--rate", str(asked.rate)] if asked.rate else []
    os.environ["SERVICE_MAX_AGE_STEPS"] = "null"  # held-out data are old
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children end too
    sys.exit({"run": run, "simulate": simulate}[asked.command](asked))


if __name__ == "__main__":
    main()
