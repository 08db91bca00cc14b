"""OpenAI's own client over the chat routes: it prints why a request was refused."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import shapes
import uvicorn
from predictor import Piece
from pydantic import ValidationError

from shared import guards, params, serving
from shared.models import Models

USER = {"role": "user", "content": "A laptop with the records of 20 patients was stolen."}
LIMITS = {"max_characters": 500, "max_prompt_tokens": 300, "max_answer_tokens": 200}
LIMITS |= {"upstream": None, "log_inputs": False}
SERVICE = {"max_body_mb": 0.01, "max_concurrency": 2, "timeout_s": 60, "threads": 1}
LOG = {"log_max_mb": 1, "log_keep_days": 1, "log_inputs": False}


@pytest.fixture(scope="module")
def turns() -> Any:
    from turns import Turns

    return Turns(1, 0.2, 30)


@pytest.fixture(scope="module")
def address(predictor: Any, turns: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The routes behind the guard, with a token, on a port of their own; ends in /v1."""
    import chat

    folder = tmp_path_factory.mktemp("chat")
    chain = {"name": "incident-records", "model_version": "small", "bento": "none"}
    params.write_json(folder / "provenance.json", chain)
    models: Models[Any] = Models(
        folder, lambda export: predictor, lambda model: {}, lambda model: 0
    )
    config = serving.ServiceParams(**SERVICE, **LOG, log_folder=str(folder / "logs"))
    app = serving.application("chat", config, models, truth=str)
    app.include_router(chat.router(SimpleNamespace(**LIMITS), models, turns))
    guarded = guards.Guard(app, **serving.guard(app, config, set()) | {"token": "secret"})
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.001)
        yield f"http://127.0.0.1:{door.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join()


def client(address: str, key: str = "secret") -> openai.OpenAI:
    return openai.OpenAI(base_url=address, api_key=key, max_retries=0, timeout=60)


def ask(api: openai.OpenAI, messages: Any = (USER,), **more: Any) -> Any:
    given = {"model": "any", "response_format": {"type": "text"}, "max_tokens": 5} | more
    return api.chat.completions.create(messages=messages, **given)


def test_a_conversation_is_answered_in_pieces_or_whole(address: str) -> None:
    api = client(address)
    assert [model.id for model in api.models.list()] == ["incident-records"]
    found = ask(api)
    assert found.usage.completion_tokens == 5 and found.choices[0].finish_reason == "length"
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(api, stream=True)]
    assert "".join(pieces) == found.choices[0].message.content


LONG = {"role": "user", "content": "a" * 501}
SYSTEM = {"role": "system", "content": "Be brief."}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
REFUSED: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str]] = {
    "too long": ({"messages": [LONG]}, openai.APIStatusError, "messages.0.content: has 501 char"),
    "too large": ({"messages": [USER] * 200}, openai.APIStatusError, "body: larger than 0.01 MB"),
    "wrong order": ({"messages": [USER, SYSTEM]}, openai.BadRequestError, "must be the user's"),
    "no message": ({"messages": []}, openai.BadRequestError, "messages: List should have at"),
    "several": ({"n": 2}, openai.BadRequestError, "n: one answer only"),
    "schema": ({"response_format": SCHEMA}, openai.BadRequestError, "response_format"),
    "form": ({"extra_headers": {"content-type": "a/b"}}, openai.APIStatusError, "content-type"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_the_client_prints_why_it_was_refused(address: str, name: str, stream: bool) -> None:
    given, kind, reason = REFUSED[name]
    with pytest.raises(kind) as refused:
        ask(client(address), **given, stream=stream)
    error = refused.value
    assert reason in str(error) and reason in error.body["message"]
    assert error.type == "invalid_request_error" and error.code == str(error.status_code)
    assert error.param and error.request_id and len(error.request_id) == 40


def test_only_an_answer_whose_last_token_ends_it_has_stopped() -> None:
    first = Piece("a", 1, 0.1)
    half = Piece("", 1, 0.1)  # of a character that the next token would have made whole
    assert shapes.ending([first, half], 2) == "length"
    assert shapes.ending([first, half._replace(end=True)], 2) == "stop"
    assert shapes.ending([first], 2) == "stop"


def test_a_wrong_key_is_told_so(address: str) -> None:
    for call in (ask, lambda api: api.models.list()):
        with pytest.raises(openai.AuthenticationError, match="send the header 'Authorization"):
            call(client(address, "wrong"))
    with pytest.raises(openai.NotFoundError, match="path: Not Found"):
        client(address).completions.create(model="any", prompt="a")


def test_who_finds_no_place_is_told_to_come_back(
    address: str, turns: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "places", asyncio.Semaphore(0))
    with pytest.raises(openai.RateLimitError, match=r"no place got free .* try again") as refused:
        ask(client(address))
    assert refused.value.type == "rate_limit_error"
    assert refused.value.response.headers["retry-after"] == "1"


def test_refusals_are_what_the_documentation_says(address: str) -> None:
    import chat

    told = chat.Refusal.model_validate(
        {"error": {"message": "a", "type": "b", "param": None, "code": None}}
    )
    assert told.error.message == "a"
    with pytest.raises(ValidationError):
        chat.Refusal.model_validate({"error": "a", "field": "b", "request_id": None})


def test_what_other_clients_leave_empty_is_accepted(address: str) -> None:
    import httpx

    turns_before = [{"role": "system", "content": ""}, USER, {"role": "assistant", "content": ""}]
    body = {"messages": [*turns_before, USER], "stream": None, "logprobs": None, "n": None}
    body |= {"stream_options": {"include_usage": None}, "max_tokens": 4}
    headers = {"authorization": "Bearer secret"}
    answer = httpx.post(f"{address}/chat/completions", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    body["messages"] = [USER, {"role": "user", "content": " "}]
    answer = httpx.post(f"{address}/chat/completions", json=body, headers=headers, timeout=60)
    assert answer.status_code == 400 and "messages.1.content: is empty" in answer.text


def test_turns_are_masked_as_in_training(masks: Any, predictor: Any) -> None:
    import shapes
    from requested import Conversation

    config = SimpleNamespace(**LIMITS)
    for before in ([], [SYSTEM]):
        given, hidden = (
            Conversation.model_validate({"messages": [*before, USER | {"content": text}]})
            for text in ("Write to jane@example.org.", "Write to [email].")
        )
        assert shapes.prompt(given, masks, config) == shapes.prompt(hidden, predictor, config)


def test_a_long_message_is_cut_and_said_so_but_no_question_is_cut_off(address: str) -> None:
    """The small model reads 40 tokens of a text."""
    long = {"role": "user", "content": "A laptop was stolen from the office. " * 10}
    record: Any = {"response_format": {"type": "json_object"}}
    assert ask(client(address), **record).cut is False
    assert ask(client(address), [long], **record).cut is True
    *_, last = ask(client(address), [long], stream=True, **record)
    assert last.cut is True
    with pytest.raises(openai.APIStatusError, match="has more than 40 tokens") as refused:
        ask(client(address), [long])
    assert refused.value.status_code == 413
