"""What follows an alert: a webhook for Alertmanager that retrains, rolls back, and tells people.

    python -m shared.actions --port 9099                  the server, in the blueprint's folder
    python -m shared.actions once --action retrain --key-result schedule    for a timer

POST /alerts takes Alertmanager's JSON; the label `action` of an alert says what to do. GET /audit
gives the newest steps, GET /livez whether it works. Beyond loopback it needs ACTIONS_TOKEN, which
Alertmanager sends as a bearer token (http_config).
"""

import argparse
import contextlib
import functools
import ipaddress
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from filelock import FileLock, Timeout

from shared import audit, bodies, params, refusals
from shared.acting import Acting, Limits
from shared.guards import Guard
from shared.inbox import Inbox, Webhook
from shared.incidents import Incident

BODY_MB = 1.0
NEWEST = 100  # lines that /audit gives


def application(acting: Acting, forward: str | None = None) -> FastAPI:
    """The server's routes; a thread acts while it runs."""
    inbox, worker = Inbox(acting, forward), threading.Thread(target=acting.work)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        acting.stopping.set()
        acting.wake.set()
        await anyio.to_thread.run_sync(worker.join)

    unused: Any = dict.fromkeys(["docs_url", "redoc_url", "openapi_url"])
    app = FastAPI(title="actions", lifespan=lifespan, **unused)

    @app.post("/alerts")
    async def alerts(request: Request) -> JSONResponse:
        webhook = await bodies.read(request, Webhook)
        await anyio.to_thread.run_sync(functools.partial(inbox.take, webhook))
        return JSONResponse({"accepted": len(webhook.alerts)})

    @app.get("/audit")
    def newest() -> list[dict[str, Any]]:
        return audit.read(acting.live, NEWEST * 2 * audit.LONGEST)[-NEWEST:]

    @app.get("/livez")
    def livez() -> JSONResponse:
        return JSONResponse({"acts": worker.is_alive()}, 200 if worker.is_alive() else 503)

    @app.exception_handler(refusals.BadInput)
    async def refuse(request: Request, error: refusals.BadInput) -> Response:
        return refusals.response(request.url.path, error, request.state.request_id)

    return app


def serve(acting: Acting, asked: argparse.Namespace, token: str | None) -> None:
    """Until the process is told to stop; SystemExit when the folder has a server already."""
    if not token and not _loopback(asked.host):
        raise SystemExit(f"actions: listening on {asked.host} needs ACTIONS_TOKEN")
    try:
        held = FileLock(acting.live / ".actions.lock").acquire(timeout=0)
    except Timeout:
        raise SystemExit(f"actions: another server acts for {acting.live}") from None
    app = application(acting, asked.forward)
    guarded = Guard(app, BODY_MB, frozenset({"application/json"}), 16, token=token)
    with held:
        uvicorn.run(guarded, host=asked.host, port=asked.port, log_level="warning")


def once(acting: Acting, action: str, key_result: str) -> str:
    """Act without an alert, as a timer does; gives the event in which it ended."""
    now = time.time()
    incident = Incident(f"{key_result}-{now:.3f}", action, key_result, now, scheduled=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: acting.stopping.set())
    try:
        with acting.alone(0):
            acting.recover()
            acting.note("scheduled", incident, action=action, began=now)
            return acting.act(incident)
    except Timeout:
        return acting.end("skipped", incident, reason="another action is under way")


def _loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=["serve", "once"], default="serve")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9099)
    parser.add_argument("--live", type=Path, default=Path("live"))
    parser.add_argument(
        "--service", type=params.address, help="of the service, to see it serve a model"
    )
    parser.add_argument(
        "--forward", type=params.address, help="gets pages and tickets, in the same JSON"
    )
    parser.add_argument("--at-most-every", type=float, default=3600, help="s between retrainings")
    parser.add_argument("--probation", type=float, default=86400, help="s: then rollback instead")
    parser.add_argument("--timeout", type=float, default=6 * 3600, help="s of one retraining")
    parser.add_argument("--action", choices=["retrain", "rollback"], default="retrain")
    parser.add_argument("--key-result", default="schedule", help="the name of the timer")
    asked = parser.parse_args()
    limits = Limits(asked.at_most_every, asked.probation, asked.timeout)
    acting = Acting(asked.live, limits, asked.service)
    if asked.command == "serve":
        serve(acting, asked, os.environ.get("ACTIONS_TOKEN") or None)
    else:
        event = once(acting, asked.action, asked.key_result)
        print(f"{asked.action}: {event}")
        sys.exit(event in ("retrain_failed", "interrupted"))


if __name__ == "__main__":
    main()
