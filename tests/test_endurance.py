"""Every service with its real model killed, watched for secrets, and loaded for long.

make hardness        after `make demo`; MINUTES=30 is the length of the load of S12
"""

import asyncio
import json
import os
import random
import secrets
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from deployed import (
    NAMES,
    ROOT,
    Service,
    ask,
    deploy,
    described,
    files_and_threads,
    good,
    load,
    megabytes,
    metric,
    start,
)

from shared import requestlog

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]
CANARY = "canary-" + secrets.token_hex(8)


def monitor(name: str, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """The blueprint's monitor over the logs in `folder`; what it says goes to monitor.log there."""
    command = [sys.executable, "monitor.py", "--logs", str(folder / "logs")]
    command += ["--live", str(folder / "live"), *more]
    with (folder / "monitor.log").open("a") as output:
        return subprocess.Popen(
            command, cwd=ROOT / "blueprints" / name, stdout=output, stderr=output
        )


@pytest.mark.parametrize("name", NAMES)
def test_l1_service_and_monitor_killed_20_times_lose_and_double_nothing(
    name: str, tmp_path: Path
) -> None:
    """Every acknowledged record is in the log once, and in the monitor's store once."""
    acknowledged: set[str] = set()

    async def until_killed(given: Service, watching: Any, seconds: float) -> None:
        task = asyncio.create_task(load(given, 4, seconds + 5, pause=6))
        await asyncio.sleep(seconds)
        for one in [*given.process.children(recursive=True), given.process, watching]:
            one.send_signal(signal.SIGKILL)
        for _, status, _, content in await task:
            if status == 200:
                acknowledged.add(json.loads(content)["request_id"])

    for number in range(20):
        watching = monitor(name, tmp_path, "--every", "0.1")
        url, running = start(name, tmp_path, SERVICE_LOG_MAX_MB="2000")
        with running as process:
            given = described(name, url, tmp_path, process)
            seconds = random.Random(number).uniform(0.2, 5 if name == "genai" else 3)
            asyncio.run(until_killed(given, watching, seconds))
        watching.wait()
    assert monitor(name, tmp_path).wait() == 0, (tmp_path / "monitor.log").read_text()[-2000:]
    logged = Counter(record["id"] for record in requestlog.read(tmp_path / "logs", "requests"))
    assert len(acknowledged) > 20 and not acknowledged - logged.keys()
    assert set(logged.values()) == {1}
    with sqlite3.connect(tmp_path / "live/monitor.db") as database:
        counted = database.execute("SELECT id FROM requests").fetchall()
    assert sorted(identity for (identity,) in counted) == sorted(logged)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize("name", NAMES)
def test_l3_a_full_disk_costs_records_and_no_answer(name: str, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    disk = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path / "logs")]
    subprocess.run(disk, check=True)
    try:
        url, running = start(name, tmp_path)
        with running as process:
            given = described(name, url, tmp_path, process)
            (tmp_path / "logs/other").write_bytes(bytes(60_000))
            found = asyncio.run(load(given, 4, 30 if name == "genai" else 10))
            assert {status for _, status, _, _ in found} == {200}
            assert (dropped := metric(given, "service_log_dropped_total")) > 0
            kept = list(requestlog.read(tmp_path / "logs", "requests"))
            assert len(kept) == len(found) - dropped
            (tmp_path / "logs/other").unlink()
            assert good(given) > 0
            assert metric(given, "service_log_dropped_total") == dropped
            assert len(list(requestlog.read(tmp_path / "logs", "requests"))) == len(kept) + 1
    finally:
        subprocess.run(["umount", str(tmp_path / "logs")], check=True)


def workers(given: Service) -> list[psutil.Process]:
    alive = [one for one in given.process.children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "_bentoml_impl.worker" in " ".join(one.cmdline())]


def two_workers(given: Service) -> bool:
    """Are both there, and the files of metrics theirs alone?"""
    files = {path.stem.rpartition("_")[2] for path in (given.folder / "bentoml").rglob("*.db")}
    return len(alive := workers(given)) == 2 and files == {str(one.pid) for one in alive}


def wait_for_two(given: Service, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not two_workers(given):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def said(content: bytes) -> dict[str, Any]:
    """What is the same in every answer to the same question."""
    answer: dict[str, Any] = json.loads(content)
    return {name: answer[name] for name in answer.keys() - {"request_id", "timestamp"}}


IMAGE = {"BENTOML_CONTAINERIZED": "true", "SERVICE_OPEN": "1"}


@pytest.mark.parametrize("where", [{}, IMAGE], ids=["host", "image"])
@pytest.mark.parametrize("name", NAMES)
def test_s11_of_killed_workers_only_the_answers_in_hand_are_lost(
    name: str, where: dict[str, str], tmp_path: Path
) -> None:
    """Every 2 s one of two workers dies, if both are there: BentoML looks for dead ones every 10 s.

    SECONDS=60 is for how long.
    """
    clients, kills, seconds = 4, 0, float(os.environ.get("SECONDS", "60"))
    url, running = start(name, tmp_path, SERVICE_WORKERS="2", **where)
    with running as process:
        given = described(name, url, tmp_path, process)
        wait_for_two(given)
        before = asyncio.run(load(given, clients, 2))

        async def kill() -> list[Any]:
            nonlocal kills
            task = asyncio.create_task(load(given, clients, seconds))
            chance = random.Random(0)
            while not task.done():
                await asyncio.sleep(2)
                if len(alive := workers(given)) == 2:
                    chance.choice(alive).send_signal(signal.SIGKILL)
                    kills += 1
            return await task

        found = asyncio.run(kill())
        lost = Counter(status for _, status, _, _ in found if status != 200)
        print(f"{name}: {len(found)} requests, {kills} kills, lost: {dict(lost)}")
        assert kills >= seconds / 20 and lost.total() <= clients * kills
        if name != "genai":  # of which a second's answers are in hand
            assert lost.total() <= 0.01 * len(found)
        wait_for_two(given)
        right = [said(content) for *_, content in (*before, *asyncio.run(load(given, clients, 2)))]
        assert all(said(content) in right for _, status, _, content in found if status == 200)


@pytest.mark.parametrize("name", NAMES)
def test_s15_nothing_secret_is_told_or_kept(name: str, tmp_path: Path) -> None:
    url, running = start(name, tmp_path, SERVICE_TOKEN=CANARY, SERVICE_SECRET=CANARY + "2")
    headers = {"authorization": f"Bearer {CANARY}"}
    with running as process:
        given = described(name, url, tmp_path, process, CANARY)

        async def told() -> bytes:
            async with aiohttp.ClientSession(headers=headers) as session:
                found = [(await ask(session, given))[2]]
                for wrong in ({"image": CANARY}, {"text": CANARY}, {"prices": [CANARY]}):
                    async with session.post(url + given.route, json=wrong) as answer:
                        await answer.read()
                for path in ("/info", "/docs.json", "/metrics", "/nowhere"):
                    async with session.get(url + path) as answer:
                        found.append(await answer.read())
                return b"".join(found)

        assert CANARY.encode() not in asyncio.run(told())
    kept = subprocess.run(
        ["grep", "-rl", CANARY, str(tmp_path)], capture_output=True, text=True
    ).stdout.split()
    assert kept == []


def slope(samples: list[float], minutes: float) -> float:
    """Growth per 10 minutes as a share of the first, by least squares over the second half."""
    half = samples[len(samples) // 2 :]
    each, _ = statistics.linear_regression(range(len(half)), half)
    return each * len(samples) / minutes * 10 / samples[0]


@pytest.mark.parametrize("name", NAMES)
def test_s12_memory_files_and_threads_are_flat_under_load_and_reloads(
    name: str, tmp_path: Path
) -> None:
    minutes = float(os.environ.get("MINUTES", "30"))
    samples: list[float] = []
    files, threads = list[int](), list[int]()
    url, running = start(name, tmp_path)
    with running as process:
        given = described(name, url, tmp_path, process)
        pointer = tmp_path / "live/current"

        async def watch() -> list[Any]:
            task = asyncio.create_task(load(given, 4, minutes * 60))
            while not task.done():
                await asyncio.sleep(minutes * 60 / 200)
                samples.append(megabytes(given))
                for numbers, one in zip((files, threads), files_and_threads(given), strict=True):
                    numbers.append(one)
                pointer.with_suffix(".draft").write_bytes(pointer.read_bytes())
                pointer.with_suffix(".draft").replace(pointer)  # is read anew, and loaded
            return await task

        found = asyncio.run(watch())
    assert {status for _, status, _, _ in found} == {200}
    grown, percent = max(samples) - samples[0], 100 * slope(samples, minutes)
    told = f"{percent:.2f} % per 10 minutes, {grown:.0f} MB above {samples[0]:.0f} MB at most"
    print(f"{name}: {len(found)} requests, {told}; {samples[::10]}")
    assert percent < 1 and grown < 100
    half = len(samples) // 2
    assert max(files[half:]) <= max(files[:half]) + 5, files[::10]
    assert statistics.median(threads[half:]) <= statistics.median(threads[:half]), threads[::10]


@pytest.mark.parametrize("name", ["cv", "rl"])
def test_a_million_rows_are_judged_with_flat_memory(name: str, tmp_path: Path) -> None:
    """ROWS=1000000 of the log take the memory of a tenth of them; prints how long they took."""
    url, running = start(name, tmp_path)
    with running as process:
        given = described(name, url, tmp_path, process)
        asyncio.run(load(given, 4, 2))
    rows, peaks = int(os.environ.get("ROWS", "1000000")), []
    seen = [*requestlog.read(tmp_path / "logs", "requests")]
    for number in (rows // 10, rows):
        folder = tmp_path / str(number)
        log = requestlog.RequestLog(folder / "logs", "requests", 10_000, 1)
        for i in range(number):
            assert log.write(seen[i % len(seen)] | {"id": f"{i:040}"})
        deploy(ROOT / "blueprints" / name, folder / "live")
        process = monitor(name, folder)
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0, (folder / "monitor.log").read_text()[-2000:]
        peaks.append(used.ru_maxrss / 1e3)
        seconds = used.ru_utime + used.ru_stime
        print(f"{name}: {number} rows, {seconds:.0f} s of processor time, {peaks[-1]:.0f} MB")
    assert peaks[1] < 1.3 * peaks[0] + 20
