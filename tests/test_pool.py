"""Answers in threads: one after another, and none for clients who have left."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from shared.pool import in_pool
from shared.refusals import BadInput


def asked(left: asyncio.Event) -> Any:
    """A request to a service with one thread, whose client goes away with `left`."""

    async def receive() -> dict[str, str]:
        await left.wait()
        return {"type": "http.disconnect"}

    state = SimpleNamespace(pool=ThreadPoolExecutor(1))
    return SimpleNamespace(app=SimpleNamespace(state=state), receive=receive)


def test_so_many_answers_are_made_at_a_time_as_there_are_threads() -> None:
    present, most = 0, 0

    def work() -> None:
        nonlocal present, most
        present += 1
        most = max(most, present)
        time.sleep(0.01)
        present -= 1

    async def run() -> None:
        request = asked(asyncio.Event())
        await asyncio.gather(*(in_pool(request, work) for _ in range(10)))

    asyncio.run(run())
    assert most == 1


def test_what_a_function_gives_or_raises_comes_back() -> None:
    async def run() -> None:
        request = asked(asyncio.Event())
        assert await in_pool(request, pow, 2, 3) == 8
        with pytest.raises(ZeroDivisionError):
            await in_pool(request, divmod, 1, 0)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1, "nobody listens for the client any more"

    asyncio.run(run())


@pytest.mark.parametrize("how", ["the client leaves", "the time is over"])
def test_an_answer_that_nobody_waits_for_is_not_begun(how: str) -> None:
    """And one that has begun keeps no request waiting."""
    begun, may_end, made = threading.Event(), threading.Event(), list[int]()

    def work(number: int) -> None:
        begun.set()
        assert may_end.wait(30)
        made.append(number)

    async def run() -> None:
        left = asyncio.Event()
        request = asked(left)
        tasks = [asyncio.create_task(in_pool(request, work, number)) for number in range(3)]
        await asyncio.to_thread(begun.wait, 30)
        if how == "the client leaves":
            left.set()
        else:  # as BentoML's timer does
            for task in tasks:
                task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        if how == "the client leaves":
            assert [(type(one), one.status) for one in found] == [(BadInput, 499)] * 3
        else:
            assert [type(one) for one in found] == [asyncio.CancelledError] * 3
        may_end.set()
        await asyncio.to_thread(request.app.state.pool.shutdown)

    asyncio.run(run())
    assert made == [0]
