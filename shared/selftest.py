"""A model tried out in a process of its own, before it is served: right answers, in time.

    python -m shared.selftest ask MODEL      in the folder of service.py: examples and its answers
    python -m shared.selftest check MODEL    does it answer as MODEL/golden.json says?

The whole service is asked, without a network, as clients ask it. A model that takes too long, or
all memory, takes this process with it and nothing else.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from shared import edge, params
from shared.audit import Refused
from shared.tee import OWN, distance

GOLDEN = "golden.json"
TOLERANCE = 0.01  # relative; other processors round arithmetic of eight and four bits differently
ASKED = 5  # times, of which the fastest counts: what else runs is not the model's fault
ABOUT = ("model_version", "provenance")  # what an answer says about the model, not the question


def run(command: str, service: Path, model: Path, seconds: int, memory_mb: float | None) -> str:
    """What the command prints for a model in the packaged folder `service`.

    Raises Refused with the reason: another answer, an error, more seconds or memory than these.
    """
    with tempfile.TemporaryDirectory() as logs:
        # Examples are old, and a device's clock may be anywhere.
        own = {"SERVICE_LOG_FOLDER": logs, "SERVICE_MAX_AGE_STEPS": "null"}
        kept = {k: v for k, v in os.environ.items() if k not in ("SERVICE_TOKEN", "MODEL_POINTER")}
        line = [sys.executable, "-m", "shared.selftest", command, str(model.resolve())]
        told, said = Path(logs, "told"), Path(logs, "said")
        with told.open("wb") as out, said.open("wb") as error:
            environment = kept | own | {"SELFTEST_SECONDS": str(seconds)}
            process = psutil.Popen(line, cwd=service, env=environment, stdout=out, stderr=error)
            reason = _watch(process, memory_mb)
        if process.returncode == 0:
            return told.read_text(encoding="utf-8")
        last = said.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    if process.returncode == -signal.SIGALRM:
        reason = f"it took more than {seconds} s"
    raise Refused(f"self-test: {reason or last or f'ended with {process.returncode}'}")


def _watch(process: psutil.Popen, memory_mb: float | None) -> str:
    """Wait for its end, or end it above its memory; gives the reason then."""
    while process.poll() is None:
        try:
            taken = process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
        if memory_mb and taken > memory_mb:
            process.kill()
            process.wait()
            return f"it took {taken:.0f} MB of memory, at most {memory_mb:.0f} are allowed"
        try:
            process.wait(0.02)
        except psutil.TimeoutExpired:
            continue
    return ""


def examples(document: dict[str, Any]) -> dict[str, bytes]:
    """Path -> the example in an OpenAPI document, of each POST route that has one."""
    found = {}
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "example" in schema:
            found[path] = json.dumps(schema["example"]).encode()
    return found


async def ask(app: Any, path: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON that an ASGI app answers to a POST of JSON."""
    given, parts, status = [body], [], 0

    async def receive() -> dict[str, Any]:
        if not given:  # a client that stays and listens
            await asyncio.Event().wait()
        return {"type": "http.request", "body": given.pop(), "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    here = {"client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0), "scheme": "http"}
    where = {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b""}
    kind = {"type": "http", "http_version": "1.1", "method": "POST", "headers": headers}
    await app({"asgi": {"version": "3.0"}, **kind, **where, **here}, receive, send)
    return status, json.loads(b"".join(parts))


async def answered(app: Any, path: str, body: bytes) -> tuple[dict[str, Any], float]:
    """An answer without what it says about the model and request, and its milliseconds."""
    begin = time.perf_counter()
    status, answer = await ask(app, path, body)
    if status != 200:
        raise SystemExit(f"{path} answers {status}: {answer.get('error')}"[:500])
    kept = {name: answer[name] for name in answer if name not in OWN + ABOUT}
    return kept, (time.perf_counter() - begin) * 1e3


async def golden(app: Any, questions: dict[str, bytes]) -> list[dict[str, Any]]:
    """Path, body and answer of each question; what differs between two answers is left out."""
    found = []
    for path, body in questions.items():
        (one, _), (other, _) = [await answered(app, path, body) for _ in range(2)]
        fixed = {name: one[name] for name in one if one[name] == other.get(name)}
        found.append({"path": path, "body": json.loads(body), "answer": fixed})
    return found


async def check(app: Any, expected: dict[str, Any]) -> None:
    """Raises SystemExit for the first golden answer that is another one, or comes too late."""
    for one in expected["answers"]:
        path, body, fastest = one["path"], json.dumps(one["body"]).encode(), float("inf")
        for _ in range(ASKED):
            answer, milliseconds = await answered(app, path, body)
            fastest = min(fastest, milliseconds)
        named = {name: answer.get(name) for name in one["answer"]}
        if not distance(named, one["answer"]) <= expected["tolerance"]:
            raise SystemExit(f"{path} answers {named}, not {one['answer']}"[:1000])
        if (most := expected.get("latency_ms")) and fastest > most:
            raise SystemExit(f"{path} takes {fastest:.0f} ms, at most {most:g} are allowed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["ask", "check"])
    parser.add_argument("model", type=Path)
    asked = parser.parse_args()
    signal.alarm(int(os.environ.get("SELFTEST_SECONDS", "0")))  # the end, whatever it then does
    app, _ = edge.application(Path.cwd())
    models = sys.modules["service"].MODELS
    try:
        models.now = models.tried(asked.model)
    except Exception as error:
        raise SystemExit(f"{type(error).__name__}: {error}"[:1000]) from None
    if asked.command == "check":
        asyncio.run(check(app, params.read_json(asked.model / GOLDEN)))
    else:
        questions = examples(sys.modules["service"].app.openapi())
        print(json.dumps(asyncio.run(golden(app, questions))))


if __name__ == "__main__":
    main()
