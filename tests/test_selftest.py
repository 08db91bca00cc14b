"""A service asked without a network: what it answers, and what of it must come again."""

import asyncio
import json
from typing import Any

import pytest

from shared import selftest


def app(answers: list[Any], status: int = 200) -> Any:
    """An ASGI app that gives one answer after the other, the last one for ever."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert not message["more_body"] and scope["method"] == "POST"
        given = answers.pop(0) if len(answers) > 1 else answers[0]
        text = json.dumps({**given, "got": json.loads(message["body"])}).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": text[:5], "more_body": True})
        await send({"type": "http.response.body", "body": text[5:]})

    return answer


def test_what_differs_between_two_answers_is_not_golden() -> None:
    answers = [{"a": 1, "at": 1, "request_id": "x", "model_version": "v"}, {"a": 1, "at": 2}]
    (one,) = asyncio.run(selftest.golden(app(answers), {"/ask": b'{"q": 7}'}))
    assert one == {"path": "/ask", "body": {"q": 7}, "answer": {"a": 1, "got": {"q": 7}}}


def expected(answer: dict[str, Any], **limits: Any) -> dict[str, Any]:
    one = {"path": "/ask", "body": 1, "answer": answer}
    return {"answers": [one], "tolerance": 0.01, **limits}


def test_numbers_may_differ_by_the_tolerance_and_nothing_else_may() -> None:
    asyncio.run(selftest.check(app([{"p": 0.509}]), expected({"p": 0.5})))
    for other in ({"p": 0.52}, {"p": "0.5"}, {"q": 0.5}):
        with pytest.raises(SystemExit, match=r"/ask answers .*, not "):
            asyncio.run(selftest.check(app([other]), expected({"p": 0.5})))


def test_the_fastest_of_several_answers_is_held_to_the_limit() -> None:
    asyncio.run(selftest.check(app([{"p": 1}]), expected({"p": 1}, latency_ms=60_000)))
    asyncio.run(selftest.check(app([{"p": 1}]), expected({"p": 1}, latency_ms=None)))
    with pytest.raises(SystemExit, match=r"/ask takes .* ms, at most 1e-06 are allowed"):
        asyncio.run(selftest.check(app([{"p": 1}]), expected({"p": 1}, latency_ms=1e-6)))


def test_an_answer_that_is_none_ends_the_test_with_its_reason() -> None:
    with pytest.raises(SystemExit, match="/ask answers 503: busy"):
        asyncio.run(selftest.golden(app([{"error": "busy"}], 503), {"/ask": b"1"}))


def test_examples_are_found_by_reference_and_in_place() -> None:
    def posts(schema: dict[str, Any]) -> dict[str, Any]:
        return {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}

    paths = {"/a": posts({"$ref": "#/components/schemas/A"}), "/b": posts({"example": 2})}
    paths |= {"/c": posts({"type": "object"}), "/d": {"get": {}}, "/e": {"post": {}}}
    document = {"paths": paths, "components": {"schemas": {"A": {"example": {"x": 1}}}}}
    assert selftest.examples(document) == {"/a": b'{"x": 1}', "/b": b"2"}
