"""POST routes are called directly, everything else by the framework."""

import asyncio
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from shared.direct import Direct

usual = FastAPI()


@usual.post("/double")
async def double(request: Request) -> JSONResponse:
    assert request.app is usual, "a route finds the state of its application"
    return JSONResponse({"twice": 2 * (await request.json())["number"]})


@usual.get("/info")
def info() -> dict[str, str]:
    return {"name": "usual"}


def ask(app: Any, method: str, path: str, **given: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return await client.request(method, path, **given)

    return asyncio.run(send())


async def never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("a POST route went the long way")


def test_a_post_route_needs_no_framework() -> None:
    found = ask(Direct(never, usual), "POST", "/double", json={"number": 21})
    assert (found.status_code, found.json()) == (200, {"twice": 42})


def test_all_else_goes_the_usual_way() -> None:
    app = Direct(usual, usual)
    assert ask(app, "GET", "/info").json() == {"name": "usual"}
    assert ask(app, "GET", "/double").status_code == 405
    assert ask(app, "POST", "/info").status_code == 405
    assert ask(app, "POST", "/nowhere").status_code == 404
    assert "/double" in ask(app, "GET", "/openapi.json").json()["paths"]
