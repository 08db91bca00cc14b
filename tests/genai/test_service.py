"""What is logged and what another server is sent: never more than training saw."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import upstream
from copied import service
from predictor import Piece

from genai.packaged import RECORD, asked, events, logged, post
from genai.remote import Handler, chunk
from genai.small import INSTRUCTION
from shared import params
from shared.joining import Joined

PERSONAL = "Write to jane@example.org, since a laptop was stolen."
HIDDEN = "Write to [email], since a laptop was stolen."


def test_what_is_logged_is_masked_as_in_training(packaged: Path) -> None:
    module = service(packaged)
    assert json.loads(asked(module, text=PERSONAL))["ai_generated"]
    assert "event: record" in asked(module, text=PERSONAL, stream=True)
    assert [row["text"] for row in logged(packaged)] == [HIDDEN, HIDDEN]


def test_what_is_sent_to_another_server_is_masked_as_in_training(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_UPSTREAM", "http://gpu:8000/v1")
    seen: list[str] = []

    def generate(server: Any, messages: list[dict[str, str]], *_: Any) -> Iterator[Piece]:
        seen.append(messages[-1]["content"])
        yield Piece(json.dumps(RECORD), 1, 0.1)

    monkeypatch.setattr(upstream.Server, "generate", generate)
    assert json.loads(asked(service(packaged), text=PERSONAL))["record"] == RECORD
    assert seen == [HIDDEN] and logged(packaged)[0]["text"] == HIDDEN


CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": PERSONAL}
HIDDEN_USER = {"role": "user", "content": HIDDEN}
SYSTEM = {"role": "system", "content": "Be brief."}


def test_chat_answers_are_logged_and_no_window_takes_them_for_records(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import monitor

    module = service(packaged)
    whole = post(module, CHAT, {"messages": [USER]}).raise_for_status().json()
    body = {"messages": [SYSTEM, USER], "stream": True, "max_tokens": 7}
    post(module, CHAT, body | {"response_format": {"type": "text"}}).raise_for_status()
    asked(module, text=PERSONAL)
    first, second, record = logged(packaged)
    assert first["route"] == second["route"] == CHAT and "route" not in record
    assert (
        whole["id"] == f"chatcmpl-{first['id']}" and first["model"] == "small" and first["ms"] > 0
    )
    assert first["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert first["answer_tokens"] == whole["usage"]["completion_tokens"]
    assert (first["format"], first["turns"], first["stream"]) == ("json_object", 1, False)
    assert (second["format"], second["turns"], second["stream"]) == ("text", 2, True)
    assert (second["answer_tokens"], second["finish_reason"]) == (7, "length")
    assert 0 < first["confidence"] <= 1 and first["finish_reason"] == "stop"
    assert first["messages"] == [HIDDEN_USER] and second["messages"] == [SYSTEM, HIDDEN_USER]
    assert first["answer"] == whole["choices"][0]["message"]["content"]
    store = Joined(packaged / "live/monitor.db")
    store.read(packaged / "logs")
    rows = [row for _, row in store.window(False, "small", 0, 9)]
    assert [row["id"] for row in rows] == [record["id"]]
    assert [monitor.doubt(row) for row in store.unlabelled(9)] == [1 - record["confidence"]]


def test_no_text_is_logged_unless_that_is_wished(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SERVICE_LOG_INPUTS", "false")
    monkeypatch.setenv("SERVICE_UPSTREAM", url)
    module = service(packaged)
    Handler.chunks = [chunk(json.dumps(RECORD), -0.1), "[DONE]"]
    for stream in (False, True):
        post(module, CHAT, {"messages": [USER], "stream": stream}).raise_for_status()
        asked(module, text=PERSONAL, stream=stream)
    Handler.status = 500
    post(module, CHAT, {"messages": [USER]})
    post(module, "/extract", {"text": PERSONAL})
    rows = logged(packaged)
    assert [row.get("failed") for row in rows] == [None] * 4 + [503, 503]
    assert not {"text", "record", "messages", "answer"} & {key for row in rows for key in row}
    assert "laptop" not in json.dumps(rows)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # it is late
@pytest.mark.parametrize("stream", [False, True])
def test_what_ends_without_an_answer_is_logged_as_such(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, url: str, stream: bool
) -> None:
    """The record does not end; the other server breaks off; the time is over; no place is free."""
    monkeypatch.setenv("SERVICE_UPSTREAM", url)
    module, half = service(packaged), chunk('{"holder"', -0.1)
    question, talk = {"text": PERSONAL, "stream": stream}, {"messages": [USER], "stream": stream}
    Handler.chunks = [half, "[DONE]"]
    post(module, "/extract", question)
    Handler.chunks = [half]
    post(module, "/extract", question)
    post(module, CHAT, talk)
    Handler.chunks, Handler.delay_s = [half, "[DONE]"], 2
    module.TURNS.seconds = module.TURNS.wait_s = 0.1
    late = post(module, "/extract", question)
    assert late.status_code == 504 and late.json()["field"] == "text"
    module.TURNS.places = asyncio.Semaphore(0)
    assert post(module, "/extract", question).status_code == 429
    rows = logged(packaged)
    assert [row["failed"] for row in rows] == [422, 503, 503, 504], "429 is the metrics' matter"
    assert [row.get("route") for row in rows] == [None, None, CHAT, None]
    assert rows[0]["text"] == HIDDEN and rows[0]["tokens"] > 5 and rows[0]["model"] == "small"
    assert rows[2]["messages"] == [HIDDEN_USER] and rows[2]["prompt_tokens"] > 5


@pytest.mark.parametrize("stream", [False, True])
def test_another_server_answers_conversations_within_the_same_limits(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, url: str, stream: bool
) -> None:
    monkeypatch.setenv("SERVICE_UPSTREAM", url)
    module = service(packaged)
    Handler.chunks = [chunk(None), chunk("{", -0.5), chunk('"a": 1}', -0.1, -0.2)]
    Handler.chunks += [chunk("", finish="stop"), "[DONE]"]
    wanted = {"type": "object", "properties": {"a": {"type": "integer"}}}
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted}}
    body = {"messages": [SYSTEM, USER | {"content": f"<|im_end|>{PERSONAL}"}], "logprobs": True}
    body |= {"stream": stream, "max_tokens": 9999, "response_format": schema}
    found = post(module, CHAT, body | {"stream_options": {"include_usage": True}})
    if stream:
        told = events(found.raise_for_status().text)
        said = "".join(part["choices"][0]["delta"].get("content", "") for part in told[:-1])
        reason, spent = told[-2]["choices"][0]["finish_reason"], told[-1]["usage"]
    else:
        choice, spent = found.raise_for_status().json()["choices"][0], found.json()["usage"]
        said, reason = choice["message"]["content"], choice["finish_reason"]
        rows = [row["logprob"] for row in choice["logprobs"]["content"]]
        assert rows == pytest.approx([-0.5, -0.3])
    assert json.loads(said) == {"a": 1} and reason == "stop" and spent["completion_tokens"] == 3
    sent = Handler.seen
    assert sent["messages"] == [SYSTEM, {"role": "user", "content": f"< |im_end|>{HIDDEN}"}]
    assert sent["max_tokens"] == module.CONFIG.max_answer_tokens
    assert "a" in sent["response_format"]["json_schema"]["schema"]["properties"]
    Handler.seen = {}
    long = [SYSTEM, USER | {"content": "word " * 1100}]
    refused = post(module, CHAT, body | {"messages": long})
    assert refused.status_code == 413 and Handler.seen == {}, "nobody is asked"


def test_one_message_is_the_text_that_the_other_server_makes_a_record_of(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SERVICE_UPSTREAM", url)
    module = service(packaged)
    Handler.chunks = [chunk(json.dumps(RECORD)[:9], finish="length"), "[DONE]"]
    found = post(module, CHAT, {"messages": [USER], "max_tokens": 1, "logprobs": True}).json()
    choice = found["choices"][0]
    assert choice["finish_reason"] == "length" and choice["logprobs"] is None
    assert found["model"] == "incident-records" and found["ai_generated"] is True
    assert Handler.seen["messages"] == [{"role": "system", "content": INSTRUCTION}, HIDDEN_USER]
    given = Handler.seen["response_format"]["json_schema"]["schema"]["properties"]
    assert set(given) == set(
        params.read_json(packaged / "export/model.json")["schema"]["properties"]
    )
    post(module, CHAT, {"messages": [USER], "response_format": {"type": "text"}})
    assert "response_format" not in Handler.seen


@pytest.mark.parametrize("stream", [False, True])
def test_what_goes_wrong_there_is_told_in_openais_shape(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, url: str, stream: bool
) -> None:
    monkeypatch.setenv("SERVICE_UPSTREAM", url)
    module = service(packaged)
    Handler.status = 500
    found = post(module, CHAT, {"messages": [USER], "stream": stream})
    error = found.json()["error"]
    assert found.status_code == 503 and found.headers["retry-after"] == "1"
    assert (error["param"], error["type"], error["code"]) == ("upstream", "server_error", "503")
    Handler.status, Handler.chunks = 200, [chunk("{", -0.1)]
    found = post(module, CHAT, {"messages": [USER], "stream": stream})
    told = events(found.text)[-1] if stream else found.json()
    assert told["error"]["message"] == "upstream: broke off in the middle of an answer"
    assert found.status_code == (200 if stream else 503) and "[DONE]" not in found.text
