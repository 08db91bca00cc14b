"""What stands before every service: request ids, token, content types, limits, one log line.

An ASGI middleware, outermost, so that nothing is parsed and no slot taken before a request is known
to be acceptable. Without it: 500 for a missing boundary, no body limit, 2 KB of log per bad one.
"""

import asyncio
import hmac
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from shared import refusals, requestids, telemetry
from shared.intake import Intake
from shared.refusals import BadInput as BadInput
from shared.requestlog import shortened

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEALTH = frozenset({"/livez", "/readyz", "/healthz"})
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
NOT_KEPT = (b"cache-control", b"no-store")
CLOSING = (b"connection", b"close")


class Guard:
    """See the module; one instance per worker process.

    max_body_mb: bodies above it get 413 before they are parsed, whatever Content-Length says.
    content_types: what a body may be, without parameters; anything else gets 415.
    max_concurrency: requests in progress above it get 429 with Retry-After; a request counts from
        when its body is read. So do bodies, of which so many of the largest are held at most.
    body_timeout_s: a body that takes longer to arrive gets 408.
    token: every route but the health checks asks for `Authorization: Bearer ...`; None: no route.
    paths: the routes that are timed by name; others are "other".
    """

    def __init__(
        self,
        app: Any,
        max_body_mb: float,
        content_types: frozenset[str],
        max_concurrency: int,
        body_timeout_s: float = 10.0,
        token: str | None = None,
        secret: bytes = b"",
        paths: frozenset[str] = frozenset(),
    ) -> None:
        self.app, self.token, self.secret = app, token, secret
        self.content_types, self.max_concurrency, self.active = content_types, max_concurrency, 0
        most = int(max_body_mb * 1e6)
        self.intake = Intake(most, body_timeout_s, most * max_concurrency)
        self.paths, self.timers = paths, telemetry.timers(paths)
        self.unanswered = telemetry.unanswered(paths)
        self.turn = asyncio.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":  # closed before it is accepted, the server answers 403
            await send({"type": "websocket.close", "code": 1008})
            sent = {"status": 403, "error": "no websockets here"}
            log_line(scope, requestids.new(self.secret), sent, 0)
        elif scope["path"] in HEALTH:
            await self.app(scope, receive, adding([NO_SNIFFING], send, {}))
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        request_id, begin = requestids.new(self.secret), time.perf_counter()
        scope.setdefault("state", {}).update(request_id=request_id, begin=begin)
        headers = [(b"x-request-id", request_id.encode()), NO_SNIFFING]
        headers += [NOT_KEPT] if scope["method"] == "POST" else []
        headers += (
            [CLOSING] if any(key.lower() == b"upgrade" for key, _ in scope["headers"]) else []
        )
        sent: dict[str, Any] = {"status": 0, "error": None}
        answer, path = adding(headers, send, sent), scope["path"]
        counted = path != "/metrics"  # who asks is no request of the service
        telemetry.IN_PROGRESS.inc(counted)
        try:
            await self._admit(scope, receive, answer)
        except BadInput as error:
            sent["error"] = str(error)
            await refusals.response(path, error, request_id)(scope, receive, answer)
        except asyncio.CancelledError:  # BentoML's timer, which answers itself
            sent |= {"status": sent["status"] or 504, "error": "was not answered in time"}
            raise
        except Exception as error:
            sent["error"] = "".join(traceback.format_exception(error))[-2000:]
            if not sent["status"]:
                fault = BadInput("request", "failed inside the service", 500)
                await refusals.response(path, fault, request_id)(scope, receive, answer)
            sent["status"] = 500  # also when the answer had begun
        finally:
            seconds = time.perf_counter() - begin
            telemetry.IN_PROGRESS.dec(counted)
            if counted:
                name = path if path in self.paths else "other"
                self.timers[name, telemetry.status_class(sent["status"])].observe(seconds)
                if counter := self.unanswered.get((name, sent["status"])):
                    counter.inc()
            log_line(scope, request_id, sent, seconds * 1e3)

    async def _admit(self, scope: Message, receive: Receive, answer: Send) -> None:
        headers = {key.lower(): value for key, value in scope["headers"]}
        if len(headers) < len(scope["headers"]):
            given_once(scope["headers"])
        if self.token and not authorised(headers.get(b"authorization", b""), self.token):
            raise BadInput("authorization", "send the header 'Authorization: Bearer <token>'", 401)
        body = b""
        if scope["method"] in ("POST", "PUT", "PATCH"):
            announced = {b"content-length", b"transfer-encoding"} & headers.keys()
            if announced and headers.get(b"content-length") != b"0":
                self._check_content_type(headers.get(b"content-type", b"").decode("latin-1"))
            if b"upgrade" in headers:  # the server has skipped the body
                raise BadInput("upgrade", "is not supported here: send the request without it")
            body = await self.intake.read(receive)
        try:
            await self._pass_on(scope, replay(body, receive), answer)
        finally:
            self.intake.release(body)

    async def _pass_on(self, scope: Message, receive: Receive, answer: Send) -> None:
        if self.active >= self.max_concurrency:
            reason = f"more than {self.max_concurrency} requests in progress; try again"
            raise BadInput("request", reason, 429)
        self.active += 1
        try:
            async with self.turn:  # one begins in each round of the event loop: who comes in the
                await asyncio.sleep(0)  # meantime is counted, also where answers leave no pause
            await self.app(scope, receive, answer)
        finally:
            self.active -= 1

    def _check_content_type(self, value: str) -> None:
        kind, _, parameters = map(str.strip, value.lower().partition(";"))
        if kind not in self.content_types:
            reason = f"{kind[:80]!r} is not one of {', '.join(sorted(self.content_types))}"
            raise BadInput("content-type", reason, 415)
        if kind == "multipart/form-data" and "boundary=" not in parameters:
            raise BadInput("content-type", "multipart/form-data needs a boundary parameter")


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body already read, then whatever comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def adding(headers: list[tuple[bytes, bytes]], send: Send, sent: dict[str, Any]) -> Send:
    """A `send` that adds headers to the answer and notes its status in `sent`."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent["status"] = message["status"]
            message["headers"] = [*message.get("headers", []), *headers]
        await send(message)

    return answer


def given_once(headers: list[tuple[bytes, bytes]]) -> None:
    """Raises BadInput for a repeated header of which two readers may believe another one each."""
    names = [key.lower() for key, _ in headers]
    for name in (b"authorization", b"content-type", b"content-length"):
        if names.count(name) > 1:
            raise BadInput(name.decode(), "is given more than once")


def authorised(header: bytes, token: str) -> bool:
    return hmac.compare_digest(header, b"Bearer " + token.encode())


def log_line(scope: Message, request_id: str, sent: dict[str, Any], milliseconds: float) -> None:
    """One line of JSON per request on standard error; JSON itself escapes control characters."""
    error, status = sent["error"], sent["status"]
    line = {
        "time": round(time.time(), 3),
        "id": request_id,
        "request": f"{scope.get('method', 'WS')[:8]} {shortened(scope['path'], 60)}",
        "status": status,
        "ms": round(milliseconds, 2),
    }
    if error:
        line["error"] = error if status >= 500 else shortened(error, 80)
    sys.stderr.write(json.dumps(line) + "\n")
