"""Held-out data as live traffic: requests at a rate, and the truth of each some time later.

A blueprint's traffic.py makes the items; nothing here knows what is in them.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

import httpx
import numpy as np
from tqdm import tqdm

FAILURES = 5  # that are told one by one


class Item(NamedTuple):
    """What is asked, and the truth that becomes known later; None: never."""

    body: dict[str, Any]
    truth: Any


class Sent(NamedTuple):
    """What became of it: answers by status (0: no answer), and by model version in their order."""

    statuses: Counter[int]
    versions: dict[str, int]

    @property
    def failed(self) -> int:
        return sum(number for status, number in self.statuses.items() if status != 200)


class Replay:
    """Sends items to `url`, `rate` a second, at most `clients` at a time.

    A truth follows its answer after `truth_after` seconds, for `truth_share` of them.
    """

    def __init__(self, asked: argparse.Namespace, path: str) -> None:
        self.asked, self.path = asked, path
        self.sent = Sent(Counter(), {})
        self.answer: dict[str, Any] | None = None  # the last one
        self.stop = asyncio.Event()
        self.later: set[asyncio.Task[None]] = set()
        self.random = np.random.default_rng(asked.seed)

    async def run(self, items: Iterator[Item]) -> Sent:
        """Until the items, --count or --seconds come to an end."""
        loop = asyncio.get_running_loop()
        for reason in (signal.SIGINT, signal.SIGTERM):  # what is on its way gets its answer
            loop.add_signal_handler(reason, self.stop.set)
        begin = time.monotonic()
        end = begin + (self.asked.seconds or float("inf"))
        bar = tqdm(total=self.asked.count, unit="request", disable=None)
        places = asyncio.Semaphore(self.asked.clients)
        # Servers close idle connections after five seconds: ours are given up before that.
        limits = httpx.Limits(max_connections=self.asked.clients * 2, keepalive_expiry=2)
        async with httpx.AsyncClient(
            base_url=self.asked.url, timeout=self.asked.timeout, limits=limits, trust_env=False
        ) as client:
            for number in itertools.islice(itertools.count(), self.asked.count):
                wait = begin + number / self.asked.rate - time.monotonic()
                await asyncio.sleep(max(0.0, wait))
                await places.acquire()
                ended = self.stop.is_set() or time.monotonic() > end
                if ended or (item := following(items, self.answer)) is None:
                    break
                task = asyncio.create_task(self._one(client, item, places, bar))
                self.later.add(task)
                task.add_done_callback(self.later.discard)
            while self.later:
                await asyncio.wait(self.later)
        bar.close()
        return self.sent

    async def _one(
        self, client: httpx.AsyncClient, item: Item, places: asyncio.Semaphore, bar: Any
    ) -> None:
        try:
            status, content = await self._post(client, self.path, item.body)
        finally:
            places.release()
        self.answer = content if status == 200 else None
        self.sent.statuses[status] += 1
        bar.update()
        if status != 200:
            return
        version = content["model_version"]
        self.sent.versions[version] = self.sent.versions.get(version, 0) + 1
        if item.truth is not None and self.random.random() < self.asked.truth_share:
            with contextlib.suppress(TimeoutError):  # told at once when the replay ends
                await asyncio.wait_for(self.stop.wait(), self.asked.truth_after)
            told = {"request_id": content["request_id"], "truth": item.truth}
            told_status, _ = await self._post(client, "/feedback", told)
            if told_status != 200:
                self.sent.statuses[told_status] += 1

    async def _post(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """Status (0: no answer) and content; what failed is told, the first FAILURES times."""
        begin = time.monotonic()
        try:
            answer = await client.post(path, json=body)
            status, content = answer.status_code, answer.json()
            reason = answer.text[:200]
        except (httpx.HTTPError, ValueError) as error:
            status, content, reason = 0, {}, repr(error)
        if status != 200 and self.sent.failed < FAILURES:
            seconds = time.monotonic() - begin
            tqdm.write(
                f"traffic: {path}: {status} after {seconds:.2f} s: {reason}", file=sys.stderr
            )
        return status, content


def following(items: Iterator[Item], answer: dict[str, Any] | None) -> Item | None:
    """The next item, None at the end. A generator is sent the answer to the one before, or None
    where that failed: with one client, what is asked may follow from what was answered."""
    try:
        return items.send(answer) if isinstance(items, Generator) else next(items)
    except StopIteration:
        return None


def arguments(description: str | None, shifts: Iterable[str], rate: float) -> argparse.Namespace:
    """The command line of a blueprint's traffic.py; `rate` is its default, requests per second."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="of the service")
    parser.add_argument("--shift", default="none", choices=sorted(shifts))
    parser.add_argument("--count", type=int, help="requests; without it, until --seconds")
    parser.add_argument("--once", action="store_true", help="each held-out input once")
    parser.add_argument("--seconds", type=float, help="without it and --count, for ever")
    parser.add_argument("--rate", type=float, default=rate, help="requests per second")
    parser.add_argument("--clients", type=int, default=4, help="requests at the same time")
    parser.add_argument(
        "--truth-share", type=float, default=1.0, help="of requests whose truth comes"
    )
    parser.add_argument("--truth-after", type=float, default=2.0, help="seconds until it comes")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds an answer may take")
    parser.add_argument("--seed", type=int, default=0, help="draws what is sent")
    return parser.parse_args()


def rounds(once: bool) -> Iterable[int]:
    """How often all that is held out is sent: once, or without end."""
    return range(1) if once else itertools.count()


def send(asked: argparse.Namespace, path: str, items: Iterator[Item]) -> Sent:
    """Replay until the end or Ctrl-C, and say what became of it."""
    replay = Replay(asked, path)
    asyncio.run(replay.run(items))
    told = {"answers": replay.sent.statuses, "models": replay.sent.versions}
    print(f"traffic: {json.dumps(told)}")
    return replay.sent
