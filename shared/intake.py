"""Bodies as they arrive: whole, within their size and time, and all of them within a memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from shared.refusals import BadInput

DRAINED_S = 1.0  # of a body too large, for the client to read the 413


class Intake:
    """One per worker process. max_body, most: bytes of one body and of all that are held."""

    def __init__(self, max_body: int, seconds: float, most: int) -> None:
        self.max_body, self.seconds, self.most, self.held = max_body, seconds, most, 0

    async def read(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
        """The whole body, held until `release`. Raises BadInput: 408, 413, 429, 499."""
        chunks: list[bytes] = []
        try:
            return await self._read(receive, chunks)
        except BaseException:
            self.held -= sum(map(len, chunks))
            raise

    def release(self, body: bytes) -> None:
        self.held -= len(body)

    async def _read(self, receive: Any, chunks: list[bytes]) -> bytes:
        size, more, deadline = 0, True, time.monotonic() + self.seconds
        while more and not (size > self.max_body and time.monotonic() > deadline):
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0.001)):
                    message = await receive()
            except TimeoutError:
                if size > self.max_body:
                    break
                raise BadInput("body", f"did not arrive within {self.seconds:g} s", 408) from None
            if message["type"] == "http.disconnect":
                raise BadInput("body", "the client went away", 499)
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size <= self.max_body:
                if self.held + len(part) > self.most:
                    raise BadInput(
                        "body", "those of other requests take all memory; try again", 429
                    )
                self.held += len(part)
                chunks.append(part)
            else:
                self.held -= sum(map(len, chunks))
                chunks.clear()
                deadline = min(deadline, time.monotonic() + DRAINED_S)
        if size > self.max_body:
            raise BadInput("body", f"larger than {self.max_body / 1e6:g} MB", 413)
        return b"".join(chunks)
