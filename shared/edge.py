"""A service without BentoML, for small devices: the app of service.py on uvicorn.

    python -m shared.edge --host 0.0.0.0 --port 3000        in the folder of service.py

service.py stays as it is, with its class under @bentoml.service: what it asks of BentoML at import
is answered by the few lines below. What BentoML adds at run time is added here: health checks, the
OpenAPI document, the time limit of an answer.
"""

import argparse
import asyncio
import importlib
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import uvicorn
from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from shared.guards import HEALTH, Message, Receive, Send
from shared.refusals import BadInput

# Longer than load balancers keep an idle connection (a minute), or they ask on one that just ends.
KEEP_ALIVE_S = 75


class Mounted:
    """What `@bentoml.service` makes of a class here: the middlewares that are put before its app,
    outermost first."""

    def __init__(self) -> None:
        self.middlewares: list[tuple[Any, dict[str, Any]]] = []

    def add_asgi_middleware(self, kind: Any, **options: Any) -> None:
        self.middlewares.append((kind, options))


def stand_in() -> ModuleType:
    """A module in place of BentoML with what a service.py uses of it."""
    module: Any = ModuleType("bentoml")
    module.service = lambda **_: lambda _: Mounted()
    module.asgi_app = lambda *_, **__: lambda mounting: mounting
    image = SimpleNamespace(requirements_file=lambda _: None)
    module.images = SimpleNamespace(Image=lambda **_: image)
    return module  # type: ignore[no-any-return]


class TimeLimit:
    """An ASGI middleware: an answer that has not begun within `seconds` is 504."""

    def __init__(self, app: Any, seconds: float) -> None:
        self.app, self.seconds = app, seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def begun(message: Message) -> None:
            limit.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self.seconds) as limit:
                await self.app(scope, receive, begun)
        except TimeoutError:
            reason = f"was not answered within {self.seconds:g} s"
            raise BadInput("request", reason, 504) from None


def application(folder: Path) -> tuple[Any, float]:
    """The ASGI app of the service.py in `folder`, and its time limit in seconds."""
    sys.modules["bentoml"] = stand_in()
    sys.path.insert(0, str(folder))
    service: Any = importlib.import_module("service")
    seconds = float(service.CONFIG.timeout_s)
    outer = with_health(service.app)
    (mounted,) = [value for value in vars(service).values() if isinstance(value, Mounted)]
    guard, *inner = mounted.middlewares
    for kind, options in reversed([guard, (TimeLimit, {"seconds": seconds}), *inner]):
        outer = kind(outer, **options)
    return outer, seconds


def with_health(app: Any) -> Any:
    """The app with the routes that BentoML would add."""

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("\n")

    async def document(_: Request) -> Response:
        return JSONResponse(app.openapi())

    for path in sorted(HEALTH):
        app.add_route(path, healthy)
    app.add_route("/docs.json", document)
    return app


def stopped(_signal: int, _frame: Any) -> None:
    """uvicorn drains, then raises the signal again; process 1 of a container would ignore it."""
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, stopped)
    # Open before the app starts, which looks whether it is open to anybody.
    listening = socket.create_server((asked.host, asked.port), backlog=2048)
    app, seconds = application(Path.cwd())
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(seconds) + 1,
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
