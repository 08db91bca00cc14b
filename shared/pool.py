"""The blocking part of an answer, off the event loop, for as long as its client waits for it."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request

from shared.refusals import BadInput

Result = TypeVar("Result")


async def in_pool(request: Request, function: Callable[..., Result], *arguments: Any) -> Result:
    """Run `function` in one of `threads` threads; others wait their turn.

    More at a time would take the processor from each other, and all would be late.
    Raises BadInput 499 when the client leaves: what waits is then never begun, what has begun ends
    in its thread, and nobody waits for it.
    """
    loop = asyncio.get_running_loop()
    made = loop.run_in_executor(request.app.state.pool, function, *arguments)
    gone = asyncio.create_task(_gone(request))
    either: set[asyncio.Future[Any]] = {made, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not made.done():
            raise BadInput("request", "the client went away", 499)
        return made.result()
    finally:
        made.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    """Returns when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
