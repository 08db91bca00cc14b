"""Bodies as they arrive: too large, too slow, too many at a time; nothing stays counted."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from shared.intake import Intake
from shared.refusals import BadInput

Receive = Callable[[], Awaitable[dict[str, Any]]]


def arriving(
    parts: Iterable[bytes], pause: float = 0.0, gate: asyncio.Event | None = None
) -> Receive:
    """Messages of a body; after the last but one it waits for the gate."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        if len(left) == 1 and gate:
            await gate.wait()
        part = left.pop(0) if left else b""
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


def refusal(intake: Intake, receive: Receive) -> tuple[int, str]:
    with pytest.raises(BadInput) as refused:
        asyncio.run(intake.read(receive))
    return refused.value.status, refused.value.reason


def test_a_body_is_whole_and_held_until_it_is_released() -> None:
    intake = Intake(10, 5, 100)
    body = asyncio.run(intake.read(arriving([b"ab", b"", b"cd"])))
    assert body == b"abcd" and intake.held == 4
    intake.release(body)
    assert intake.held == 0


def test_what_is_too_large_or_too_slow_or_broken_off_is_not_held() -> None:
    intake = Intake(10, 0.1, 100)
    assert refusal(intake, arriving([b"x" * 6] * 2)) == (413, "larger than 1e-05 MB")
    assert refusal(intake, arriving([b"x"] * 9, pause=0.03))[0] == 408

    async def leaving() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert refusal(intake, leaving) == (499, "the client went away")
    assert intake.held == 0


def test_however_fast_it_comes_an_endless_body_is_read_for_a_second() -> None:
    intake, begin = Intake(10, 60, 100), time.monotonic()

    async def endless() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    assert refusal(intake, endless)[0] == 413
    assert 0.9 < time.monotonic() - begin < 30 and intake.held == 0


def test_slow_bodies_together_take_no_more_than_their_memory() -> None:
    intake = Intake(10, 60, 20)

    async def run() -> list[Any]:
        gate = asyncio.Event()
        slow = [asyncio.create_task(intake.read(arriving([b"x" * 9, b"y"], 0, gate))) for _ in "ab"]
        await asyncio.sleep(0.05)
        assert intake.held == 18
        with pytest.raises(BadInput, match="take all memory") as refused:
            await intake.read(arriving([b"x" * 5]))
        assert refused.value.status == 429 and intake.held == 18
        gate.set()
        return list(await asyncio.gather(*slow))

    assert [len(body) for body in asyncio.run(run())] == [10, 10] and intake.held == 20
