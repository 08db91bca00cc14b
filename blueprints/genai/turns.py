"""Who is answered when: a bounded wait for one of a few places, a time limit, an end for those
who leave. An answer is generated in a thread, and its pieces come to the event loop one by one."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator

from fastapi import Request
from predictor import Piece

from shared.guards import BadInput

Generate = Callable[[Callable[[], bool]], Iterator[Piece]]
LOOK_S = 0.1  # how often it is looked whether the client is still there and the time not over


class Turns:
    """places: answers generated at the same time; wait_s: longest wait for one; seconds: longest
    generation."""

    def __init__(self, places: int, wait_s: float, seconds: float) -> None:
        self.places, self.wait_s, self.seconds = asyncio.Semaphore(places), wait_s, seconds

    async def pieces(self, request: Request, generate: Generate) -> AsyncIterator[Piece]:
        """Pieces of an answer as they come; `generate` ends early when its argument says so.

        Raises BadInput: 429 when no place gets free in time, 504 when the time is over, 499 when
        the client left; whatever happens, the place gets free with the thread's next token.
        """
        await self._place(request)
        stop, loop = threading.Event(), asyncio.get_running_loop()
        queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()

        def tell(what: Callable[..., None], *arguments: Piece | Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all who listened
                loop.call_soon_threadsafe(what, *arguments)

        def work() -> None:
            last: Exception | None = None
            try:
                for piece in generate(stop.is_set):
                    tell(queue.put_nowait, piece)
            except Exception as error:
                last = error
            tell(self.places.release)
            tell(queue.put_nowait, last)

        threading.Thread(target=work, daemon=True).start()
        end, look = loop.time() + self.seconds, loop.time() + LOOK_S
        try:
            while True:
                look = await self._look(request, look, end)  # however fast pieces come
                try:
                    piece = await asyncio.wait_for(queue.get(), LOOK_S)
                except TimeoutError:
                    continue
                if isinstance(piece, Exception):
                    raise piece
                if piece is None:
                    return
                yield piece
        finally:
            stop.set()

    async def _look(self, request: Request, when: float, end: float) -> float:
        """From `when` on: is the client there, and time left? Gives when to look next."""
        if (now := asyncio.get_running_loop().time()) < when:
            return when
        await still_there(request)
        if now > end:
            raise BadInput("text", f"took longer than {self.seconds:g} s", 504)
        return now + LOOK_S

    async def _place(self, request: Request) -> None:
        """Wait for a place, in the order of coming: who looks up keeps the place in the queue."""
        end = asyncio.get_running_loop().time() + self.wait_s
        place = asyncio.create_task(self.places.acquire())
        try:
            while not (await asyncio.wait({place}, timeout=LOOK_S))[0]:
                await still_there(request)
                if asyncio.get_running_loop().time() > end:
                    reason = f"no place got free within {self.wait_s:g} s; try again"
                    raise BadInput("request", reason, 429)
        except BaseException:
            if not place.cancel():  # it got free in this moment
                self.places.release()
            raise


async def still_there(request: Request) -> None:
    """Raises BadInput when the client has left: nobody would read the answer."""
    if await request.is_disconnected():
        raise BadInput("request", "the client went away", 499)
