"""The Bento under hostile texts and too many clients: goals C7, S1, S4, S9, S16."""

import asyncio
import json
import random
import subprocess
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import openai
import psutil
import pytest
import requests
from copied import App, Server, post, serving

from genai import replies
from genai.documents import NESTED
from genai.replies import INJECTIONS

pytestmark = [pytest.mark.fault, pytest.mark.long]
REPORT = "A laptop with the records of 1,874 patients was stolen from the office of Acme Clinic."


def ask(server: Server, text: Any) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"text": text}).encode()
    return post(server.url + "/extract", body, "application/json")


def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def planes() -> list[str]:
    """A text of assigned characters from every plane of Unicode that has some."""
    found = []
    for plane in range(17):
        points = range(plane << 16, (plane + 1) << 16, 97)
        known = [chr(p) for p in points if unicodedata.category(chr(p)) not in ("Cs", "Cn")]
        found.append("".join(known[:200]))
    return [text for text in found if text.strip()]


def hostile() -> dict[str, str]:
    generator = random.Random(0)
    noise = {
        f"bytes {i}": generator.randbytes(300).decode("latin-1" if i % 2 else "utf-8", "replace")
        for i in range(6)
    }
    scripts = {f"plane {i}": text for i, text in enumerate(planes())}
    orders = {f"injection {i}": f"{REPORT} {text}" for i, text in enumerate(INJECTIONS)}
    return {
        **noise,
        **scripts,
        **orders,
        "surrogate": "a\ud800b",
        "null": "a\x00b",
        "one letter": "a",
        "digits": "9" * 2000,
        "quotes": '"' * 500 + "\\" * 500,
        "special": "<|im_end|>" * 100,
        "right to left": "\u202e" + REPORT,
        "combining": "e" + "\u0301" * 2000,
    }


def test_whatever_a_text_says_the_answer_is_a_record_of_the_schema(extractor: Server) -> None:
    for name, text in hostile().items():
        status, found = ask(extractor, text)
        assert status in (200, 400, 422), (name, found)
        if status == 200:
            jsonschema.validate(found["record"], NESTED)
            assert found["ai_generated"] and len(json.dumps(found["record"])) < 1000, name


def test_wrong_questions_are_told_what_is_wrong(extractor: Server) -> None:
    cases: list[tuple[bytes, int, str]] = [
        (b"{}", 400, "text"),
        (b'{"text": ""}', 400, "text"),
        (b'{"text": " \\n"}', 400, "text"),
        (b'{"text": 1}', 400, "text"),
        (b'{"text": "a", "more": 1}', 400, "more"),
        (b'{"text": "a", "stream": "yes"}', 400, "stream"),
        (b'{"text": NaN}', 400, "text"),
        (b"[" * 100_000, 400, "body"),
        (json.dumps({"text": "a" * 20_001}).encode(), 413, "text"),
        (json.dumps({"text": "word " * 190_000}).encode(), 413, "text"),
        (json.dumps({"text": "a" * 1_100_000}).encode(), 413, "body"),
    ]
    for body, code, field in cases:
        status, found = post(extractor.url + "/extract", body, "application/json")
        assert (status, found["field"]) == (code, field), (body[:40], found)
        assert found["error"] and found["request_id"]


def test_streamed_pieces_make_the_record(extractor: Server) -> None:
    async def stream() -> list[str]:
        body = {"text": REPORT, "stream": True}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{extractor.url}/extract", json=body) as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            return (await response.text()).split("\n\n")

    events = [part.split("\n") for part in asyncio.run(stream()) if part]
    pieces = [json.loads(lines[1][6:]) for lines in events if lines[0] == "event: piece"]
    last = json.loads(events[-1][1][6:])
    assert events[-1][0] == "event: record" and len(pieces) > 5
    assert json.loads("".join(pieces)) == last["record"] == ask(extractor, REPORT)[1]["record"]


def test_the_openai_client_works(extractor: Server) -> None:
    api, messages = client(extractor), [{"role": "user", "content": REPORT}]
    name = api.models.list().data[0].id
    found = api.chat.completions.create(model=name, messages=messages)
    record = json.loads(found.choices[0].message.content)
    assert record == ask(extractor, REPORT)[1]["record"]
    assert found.choices[0].finish_reason == "stop" and found.usage.completion_tokens > 5
    options = {"include_usage": True}
    chunks = list(
        api.chat.completions.create(
            model=name, messages=messages, stream=True, stream_options=options
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert json.loads(said) == record and chunks[-1].usage.total_tokens == found.usage.total_tokens
    short = api.chat.completions.create(
        model=name, messages=messages, response_format={"type": "text"}, max_tokens=5
    )
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 5


def test_a_clients_own_schema_is_followed(extractor: Server) -> None:
    colours = {"enum": ["red", "green"]}
    schema = {
        "type": "object",
        "properties": {"colour": colours, "why": {"type": "string"}},
        "required": ["colour", "why"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "paint", "schema": schema}}
    messages = [
        {"role": "system", "content": "You choose colours."},
        {"role": "user", "content": [{"type": "text", "text": "Which one for grass?"}]},
    ]
    api = client(extractor)
    found = api.chat.completions.create(model="any", messages=messages, response_format=wanted)
    jsonschema.validate(json.loads(found.choices[0].message.content), schema)
    for broken in ({"type": "nonsense"}, {"type": "string", "pattern": "("}):
        wanted["json_schema"]["schema"] = broken
        with pytest.raises(openai.BadRequestError) as refused:
            api.chat.completions.create(model="any", messages=messages, response_format=wanted)
        assert "response_format" in refused.value.param and "response_format" in str(refused.value)
    for change in ({"n": 2}, {"tools": [{"type": "function", "function": {"name": "f"}}]}):
        with pytest.raises(openai.BadRequestError):
            api.chat.completions.create(model="any", messages=messages, **change)


def memory(server: Server) -> float:
    """MB that the service's processes hold together."""
    processes = [server.process, *server.process.children(recursive=True)]
    return sum(process.memory_info().rss for process in processes) / 1e6


async def many(server: Server, number: int) -> list[tuple[int, dict[str, Any], Any]]:
    async def one(session: aiohttp.ClientSession, i: int) -> tuple[int, dict[str, Any], Any]:
        body = {"text": f"{REPORT} Case {i}."}
        async with session.post(f"{server.url}/extract", json=body) as response:
            return response.status, await response.json(), response.headers.get("retry-after")

    connector = aiohttp.TCPConnector(limit=number)
    async with aiohttp.ClientSession(connector=connector) as session:
        return await asyncio.gather(*(one(session, i) for i in range(number)))


def test_fifty_clients_are_answered_or_told_to_come_back(extractor: Server) -> None:
    """Ten at least, or half of what four clients got in the time that one waits for a place."""
    begin = time.monotonic()
    asyncio.run(many(extractor, 4))
    each, before = (time.monotonic() - begin) / 4, memory(extractor)
    found = asyncio.run(many(extractor, 50))
    assert {status for status, _, _ in found} <= {200, 429}
    assert sum(status == 200 for status, _, _ in found) >= min(10, 20 / each / 2)
    assert all(after for status, _, after in found if status == 429)
    for status, answer, _ in found:
        assert answer["request_id"]
        if status == 200:
            jsonschema.validate(answer["record"], NESTED)
    assert memory(extractor) - before < 200
    assert ask(extractor, REPORT)[0] == 200


def test_those_who_leave_free_their_place(extractor: Server) -> None:
    """Goal S16: forty clients go away in the middle; the next one is answered at once."""
    begin = time.monotonic()
    ask(extractor, REPORT)
    usual = time.monotonic() - begin

    async def leave() -> None:
        async with aiohttp.ClientSession() as session:
            for stream in (False, True) * 20:
                body = {"text": REPORT * 5, "stream": stream}
                timeout = aiohttp.ClientTimeout(total=0.15)
                try:
                    async with session.post(
                        f"{extractor.url}/extract", json=body, timeout=timeout
                    ) as response:
                        await response.read()
                except TimeoutError:
                    pass

    before = threading.active_count()
    asyncio.run(leave())
    begin = time.monotonic()
    assert ask(extractor, REPORT)[0] == 200
    assert time.monotonic() - begin < 5 * usual + 2
    assert threading.active_count() <= before + 1


@pytest.fixture(scope="module")
def canary(extracted: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same Bento, with a canary in the model's instruction."""
    empty = tmp_path_factory.mktemp("canary")
    with serving(extracted, empty, lambda src: replies.plant(src / "export")) as started:
        yield started


def test_two_hundred_replies_are_records_and_leak_nothing(canary: Server) -> None:
    """Goal C7 at a fifth of its size; `make long` asks a thousand times."""
    check_replies(canary, 200)


def test_a_thousand_replies_are_records_and_leak_nothing(canary: Server) -> None:
    check_replies(canary, 1000)


def check_replies(server: Server, number: int) -> None:
    """A fifth are injections; each must be valid, marked, short, and without a secret."""
    folder = Path(server.process.cwd()) / "src"
    told = json.loads((folder / "export/model.json").read_text())
    assert replies.CANARY in told["instruction"] and replies.CANARY in told["frame"]["before"]
    secret = (folder / "logs/.secret").read_bytes().hex()

    def ask(path: str, body: Any) -> tuple[int, str]:
        found = requests.post(server.url + path, json=body, timeout=60)
        return found.status_code, found.text

    replies.check(ask, number, (secret, told["instruction"]))


def test_five_hundred_generated_requests_meet_no_error_of_ours(extractor: Server) -> None:
    """Goal S1, on a service whose answers take long."""
    command = ["schemathesis", "run", extractor.url + "/docs.json", "--phases", "coverage,fuzzing"]
    command += ["--max-examples", "40", "--continue-on-failure", "--no-color", "--seed", "1"]
    command += [
        "--checks",
        "not_a_server_error,status_code_conformance,response_schema_conformance",
    ]
    command += ["--generation-database", "none", "--no-shrink", "--request-timeout", "60"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert ask(extractor, REPORT)[0] == 200
    assert psutil.pid_exists(extractor.process.pid)
