"""What a worker does when it starts, beside its requests, and when it ends."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator

import psutil
from fastapi import FastAPI

from shared import telemetry


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Refuse an open door, follow the pointer to models, collect garbage in time."""
    refuse_open_door()
    # What it says about broken forms stands in our own line.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(told_as_json)
    telemetry.forget_dead_workers()
    models = app.state.models
    await asyncio.to_thread(models.look)  # the first answer comes from the model that was deployed
    tasks = [asyncio.create_task(work) for work in (models.watch(), _collect_in_time())]
    yield
    for task in tasks:
        task.cancel()


def told_as_json(record: logging.LogRecord) -> bool:
    """A filter: what is no HTTP never reaches the guards; its line is of JSON all the same."""
    if not record.getMessage().startswith("Invalid HTTP request"):
        return True
    line = {"time": round(time.time(), 3), "id": None, "status": 400, "error": "is no HTTP"}
    sys.stderr.write(json.dumps(line) + "\n")
    return False


def refuse_open_door() -> None:
    """Raise when this process listens beyond loopback without a token: anybody could fill it."""
    if os.environ.get("SERVICE_TOKEN") or os.environ.get("SERVICE_OPEN") == "1":
        return
    for connection in psutil.Process().net_connections(kind="inet"):
        address = connection.laddr.ip if connection.status == psutil.CONN_LISTEN else "127.0.0.1"
        if not (address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")):
            mend = "set SERVICE_TOKEN, or SERVICE_OPEN=1 behind a proxy"
            raise RuntimeError(f"listening on {address} without a token: {mend}")


async def _collect_in_time(seconds: float = 30) -> None:
    """Collect garbage of what came after start-up in a rhythm, not in the middle of an answer."""
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        await asyncio.sleep(seconds)
        gc.collect()
