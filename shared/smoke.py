"""Runs an image and proves that it answers right, is locked up, drains and keeps its budgets.

    python -m shared.smoke run --target cloud           in a blueprint's folder, after images build

Right is what the same packaged folder answers on this machine, without a container, to the example
of each route and to held-out data.
"""

import argparse
import contextlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared import benchmark, confined, container, draining, engine, images, params, selftest
from shared.container import Container, expect
from shared.tee import Tee, distance, plain

STARTS_S, SLOW = 30.0, 20  # an emulated processor is slow
FEW, FEW_S = 200, 120  # answers and seconds there


# Arithmetic of eight and four bits is rounded differently by other processors' instructions: the
# relative tolerance of numbers there, and the share of answers within it. Here they are the same.
TOLERANCE, ALIKE = selftest.TOLERANCE, 0.98


@contextlib.contextmanager
def reference(folder: Path, token: str, **variables: str) -> Iterator[str]:
    """The packaged folder, served by this Python: its address."""
    port = str(benchmark.free_port())
    with tempfile.TemporaryDirectory() as logs:
        own = {"SERVICE_LOG_FOLDER": logs, "SERVICE_TOKEN": token, **variables}
        command = [sys.executable, "-m", "shared.edge", "--port", port]
        url, log = f"http://127.0.0.1:{port}", Path(logs) / "log"
        where = folder / "build"
        # Its own copy of `shared`, before any other on the path.
        own["PYTHONPATH"] = os.pathsep.join(
            [str(where.resolve()), os.environ.get("PYTHONPATH", "")]
        )
        with benchmark.running(command, url + "/readyz", log, cwd=where, env=os.environ | own):
            yield url


def examples(url: str, token: str) -> dict[str, bytes]:
    """Path -> the example in the OpenAPI document, of each POST route that has one."""
    _, document = container.request(url + "/docs.json", token)
    return selftest.examples(document)


def answers(service: Container, other: str, chain: dict[str, Any], emulated: bool) -> list[str]:
    """It says where it comes from, asks for its token, and answers every example as `other` does;
    gives the routes with an example."""
    _, told = container.request(service.url + "/info", service.token)
    expect(told == chain, f"/info says {told}, the build {chain}")
    tolerance = TOLERANCE if emulated else 0.0
    asked = examples(service.url, service.token)
    expect(asked, "/docs.json has no example")
    for path, body in asked.items():
        status, _ = container.request(service.url + path, "wrong", body)
        expect(status == 401, f"{path} without a token: {status}")
        status, answer = container.request(service.url + path, service.token, body)
        expect(status == 200, f"{path}: its own example got {status} {answer}")
        right, again = (container.request(other + path, service.token, body)[1] for _ in range(2))
        # What differs between two answers of one service (an id, a time) proves nothing.
        fixed = [name for name in plain(right) if right[name] == again[name]]
        off = distance({name: answer.get(name) for name in fixed}, {n: right[n] for n in fixed})
        expect(off <= tolerance, f"{path}: {answer}, without a container {right}")
    for path in ("/livez", "/readyz", "/metrics"):
        found = container.status(service.url + path, container.bearer(service))
        expect(found == 200, f"{path} answers {found}")
    return list(asked)


def compared(service: Container, other: str, folder: Path, asked: argparse.Namespace) -> Tee:
    """Held-out data, as the blueprint's traffic.py has it, asked of both."""
    here = asked.platform == engine.native()
    with Tee(service.url, other, service.token, 0.0 if here else TOLERANCE) as tee:
        command = [sys.executable, "traffic.py", "--url", tee.url, "--clients", "1"]
        command += ["--rate", "1000", "--timeout", str(container.PATIENCE_S), *extent(asked, here)]
        done = subprocess.run([*command, "--truth-share", "0"], cwd=folder, check=False)
    expect(done.returncode == 0 and tee.asked > 1, f"traffic.py failed after {tee.asked} answers")
    expect(not tee.wrong, f"{len(tee.wrong)} held-out inputs are refused: {tee.wrong[:2]}")
    differ = len(tee.differences)
    enough = differ <= (0 if here else 1 - asked.alike) * tee.asked
    expect(enough, f"{differ} of {tee.asked} answers differ: {tee.differences[:2]}")
    return tee


def extent(asked: argparse.Namespace, here: bool) -> list[str]:
    """How much traffic.py sends: all that is held out, fewer where asked or emulated."""
    if here and asked.count is None:
        return ["--once"]
    return ["--count", str(asked.count or FEW), "--seconds", str(asked.seconds)]


def settings(folder: Path, slow: int) -> dict[str, str]:
    """Of the environment: held-out data are old, and an emulated service may take its time."""
    service = params.load_yaml(folder / "build/params.yaml")["service"]
    limits = {name: value for name, value in service.items() if name.endswith("_s") and value}
    given = {f"SERVICE_{name.upper()}": f"{value * slow}" for name, value in limits.items()}
    return given | {"SERVICE_MAX_AGE_STEPS": "null"}


def least_ready_s(name: str, platform: str, first: float, most: float) -> float:
    """Of five starts, if the first took more than `most` seconds: what else runs on the machine
    is not the image's fault."""
    found = first
    for _ in range(4):
        if found > most:
            with container.running(name, platform, STARTS_S) as again:
                found = min(found, again.ready_s)
    return found


def smoke(folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    """All of it; gives what was measured, which is also kept in dist/."""
    chain, emulated = images.provenance(folder), asked.platform != engine.native()
    engine.start()
    engine.emulate(asked.platform)
    name = images.tag(chain, asked.target, asked.platform)
    if not engine.works("image", "inspect", name):
        wanted = f"make image B={folder.resolve().name} TARGET={asked.target}"
        raise SystemExit(f"{name} is not built yet; run: {wanted}")
    slow = SLOW if emulated else 1
    variables = settings(folder, slow)
    budget = images.budget(folder, asked.target)
    limits = [] if emulated else container.limited(budget.memory_mb)
    with (
        container.running(name, asked.platform, STARTS_S * slow, *limits, **variables) as service,
        reference(folder, service.token, **variables) as other,
    ):
        confined.locked(service)
        path, *_ = answers(service, other, chain, emulated)
        tee = compared(service, other, folder, asked)
        confined.untouched(service)
        figures = {"image_mb": images.size_mb(name)}
        figures |= {"memory_mb": container.memory_mb(service.identity)}
        figures |= {"latency_p95_ms": tee.p95_ms, "answers": tee.asked}
        figures |= {"differ": len(tee.differences)}
        figures |= {"worst_distance": tee.worst} if math.isfinite(tee.worst) else {}  # of numbers
        body = examples(service.url, service.token)[path]
        figures["drained_s"] = draining.drains(service, path, body, grace_s=draining.GRACE_S * slow)
    figures["ready_s"] = service.ready_s
    if not emulated and budget.ready_s:
        figures["ready_s"] = least_ready_s(name, asked.platform, service.ready_s, budget.ready_s)
    kind = f"{asked.target}-{asked.platform.rpartition('/')[2]}"
    params.write_json(folder / f"dist/{kind}.json", figures)
    if emulated:  # whose time and memory say nothing about a real one
        figures = {
            key: value for key, value in figures.items() if key in ("image_mb", "answers", "differ")
        }
    images.check(folder, asked.target, figures)
    return figures


def main() -> None:
    parser = images.parser(__doc__, "run", targets=images.EVERY)
    few = f"answers to compare; default all that is held out, of another platform {FEW}"
    parser.add_argument("--count", type=int, help=few)
    parser.add_argument("--seconds", type=float, default=FEW_S, help="at most, for so many")
    standard = f"share of them that another processor must give too; default {ALIKE}"
    parser.add_argument("--alike", type=float, default=ALIKE, help=standard)
    asked = parser.parse_args()
    if asked.target == "standalone":
        from shared import stacksmoke  # which builds on this module

        stacksmoke.run(Path(), asked)
    else:
        smoke(Path(), asked)


if __name__ == "__main__":
    main()
