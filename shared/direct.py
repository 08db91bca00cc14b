"""POST routes straight to their functions, past the framework's way to them.

A route's function takes the request alone and gives a response, so it needs no dependencies
resolved, no stack of exits and no second look at its answer: half the time of a light request.
All else (GET, wrong methods, unknown paths, OpenAPI) goes the usual way.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

Message = MutableMapping[str, Any]
Route = Callable[[Request], Awaitable[Response]]


class Direct:
    """An ASGI app: the POST routes of `routes` are called here, the rest by `app`."""

    def __init__(self, app: Any, routes: FastAPI) -> None:
        self.app, self.routes, self.posts = app, routes, posts(routes)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        route = self.posts.get(scope["path"]) if scope.get("method") == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["app"] = self.routes
        response = await route(Request(scope, receive))
        await response(scope, receive, send)


def posts(app: FastAPI) -> dict[str, Route]:
    """Path -> function of the routes that take POST; the functions raise BadInput to refuse."""
    found = [route for route in app.routes if isinstance(route, APIRoute)]
    return {route.path: route.endpoint for route in found if "POST" in (route.methods or ())}
