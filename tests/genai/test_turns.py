"""Places, time limits and clients who leave, with a real thread behind each answer."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from predictor import Piece
from turns import LOOK_S, Turns

from shared.guards import BadInput


class Client:
    """As much of a request as is looked at: is its sender still there?"""

    def __init__(self) -> None:
        self.left = False

    async def is_disconnected(self) -> bool:
        return self.left


def counting(number: int, pause: float = 0.0) -> Callable[[Callable[[], bool]], Iterator[Piece]]:
    def generate(stopped: Callable[[], bool]) -> Iterator[Piece]:
        for i in range(number):
            if stopped():
                return
            time.sleep(pause)
            yield Piece(str(i), 1, 0.0)

    return generate


async def said(turns: Turns, client: Any, generate: Any) -> str:
    return "".join([piece.text async for piece in turns.pieces(client, generate)])


def test_pieces_come_in_order() -> None:
    async def check() -> None:
        assert await said(Turns(1, 1, 5), Client(), counting(50)) == "".join(map(str, range(50)))

    asyncio.run(check())


def test_one_place_is_taken_by_one_at_a_time() -> None:
    running, most = 0, 0

    def generate(stopped: Callable[[], bool]) -> Iterator[Piece]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        yield Piece("a", 1, 0.0)
        running -= 1

    async def check() -> None:
        turns = Turns(1, 5, 5)
        found = await asyncio.gather(*(said(turns, Client(), generate) for _ in range(10)))
        assert found == ["a"] * 10

    asyncio.run(check())
    assert most == 1


def test_who_came_first_is_answered_first_however_often_it_looked_up() -> None:
    order: list[str] = []

    def named(name: str, pause: float) -> Callable[[Callable[[], bool]], Iterator[Piece]]:
        def generate(stopped: Callable[[], bool]) -> Iterator[Piece]:
            order.append(name)
            yield from counting(1, pause)(stopped)

        return generate

    async def check() -> None:
        turns, tasks = Turns(1, 30, 60), []
        for name, pause in (("first", 5 * LOOK_S), ("second", 0.0), ("third", 0.0)):
            tasks.append(asyncio.create_task(said(turns, Client(), named(name, pause))))
            await asyncio.sleep(1.5 * LOOK_S)  # the second has looked up before the third comes
        await asyncio.gather(*tasks)

    asyncio.run(check())
    assert order == ["first", "second", "third"]


def test_who_waits_too_long_is_told_to_come_back() -> None:
    async def check() -> None:
        turns = Turns(1, 0.2, 60)
        first = asyncio.create_task(said(turns, Client(), counting(40, 0.05)))
        await asyncio.sleep(0.01)
        with pytest.raises(BadInput) as refused:
            await said(turns, Client(), counting(1))
        assert refused.value.status == 429
        assert len(await first) > 40

    asyncio.run(check())


def test_an_answer_that_takes_too_long_ends_and_frees_its_place() -> None:
    async def check() -> None:
        turns = Turns(1, 5, 0.3)
        with pytest.raises(BadInput) as refused:
            await said(turns, Client(), stuck(0.6))
        assert refused.value.status == 504
        assert await said(turns, Client(), counting(3)) == "012"

    asyncio.run(check())


def stuck(seconds: float) -> Callable[[Callable[[], bool]], Iterator[Piece]]:
    def generate(stopped: Callable[[], bool]) -> Iterator[Piece]:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not stopped():
            time.sleep(0.01)
        yield from ()

    return generate


@pytest.mark.parametrize("leaves", [True, False])
def test_however_fast_pieces_come_time_and_client_are_looked_at(leaves: bool) -> None:
    async def check() -> None:
        turns, client = Turns(1, 5, 60 if leaves else 0.3), Client()
        task = asyncio.create_task(said(turns, client, counting(10_000, 0.002)))
        await asyncio.sleep(0.05)
        client.left = leaves
        with pytest.raises(BadInput) as refused:
            await asyncio.wait_for(task, 10)
        assert refused.value.status == (499 if leaves else 504)
        assert await said(turns, Client(), counting(2)) == "01"

    asyncio.run(check())


@pytest.mark.parametrize("while_waiting", [True, False])
def test_who_leaves_frees_the_place(while_waiting: bool) -> None:
    ended = threading.Event()

    def endless(stopped: Callable[[], bool]) -> Iterator[Piece]:
        while not stopped():
            time.sleep(0.01)
        ended.set()
        yield from ()

    async def check() -> None:
        turns, first, second = Turns(1, 30, 30), Client(), Client()
        one = asyncio.create_task(said(turns, first, endless))
        await asyncio.sleep(0.05)
        if while_waiting:
            two = asyncio.create_task(said(turns, second, counting(1)))
            second.left = True
            with pytest.raises(BadInput) as gone:
                await two
            assert gone.value.status == 499
        first.left = True
        with pytest.raises(BadInput):
            await one
        assert await said(turns, Client(), counting(2)) == "01"

    asyncio.run(check())
    assert ended.wait(5)


def test_a_stream_that_nobody_reads_any_more_ends_its_thread() -> None:
    ended = threading.Event()

    def endless(stopped: Callable[[], bool]) -> Iterator[Piece]:
        while not stopped():
            yield Piece("a", 1, 0.0)
            time.sleep(0.005)
        ended.set()

    async def check() -> None:
        stream = Turns(1, 5, 30).pieces(Client(), endless)  # type: ignore[arg-type]
        assert (await anext(stream)).text == "a"
        await stream.aclose()  # what cancelling a response does
        await asyncio.to_thread(ended.wait, 5)

    asyncio.run(check())
    assert ended.is_set()


def test_an_error_of_the_generation_reaches_the_caller() -> None:
    def broken(stopped: Callable[[], bool]) -> Iterator[Piece]:
        yield Piece("a", 1, 0.0)
        raise BadInput("response_format", "cannot be followed")

    async def check() -> None:
        turns = Turns(1, 5, 5)
        with pytest.raises(BadInput, match="cannot be followed"):
            await said(turns, Client(), broken)
        assert await said(turns, Client(), counting(1)) == "0"

    asyncio.run(check())


def test_an_answer_that_outlives_its_event_loop_ends_quietly() -> None:
    ended = threading.Event()

    def generate(stopped: Callable[[], bool]) -> Iterator[Piece]:
        yield Piece("a", 1, 0.0)
        ended.wait(5)
        yield Piece("b", 1, 0.0)

    async def first() -> None:
        await anext(Turns(1, 1, 5).pieces(Client(), generate))  # type: ignore[arg-type]

    failed: list[Any] = []
    former, threading.excepthook = threading.excepthook, failed.append
    try:
        asyncio.run(first())
        ended.set()
        for thread in threading.enumerate():
            if thread.daemon and "work" in thread.name:
                thread.join(5)
    finally:
        threading.excepthook = former
    assert not failed
