"""The extraction service: POST /extract, /feedback, GET /info, and OpenAI's chat completions.

bentoml serve service:IncidentRecords        then open http://127.0.0.1:3000
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import bentoml
import chat
import monitor
import predictor
import requested
import upstream
from fastapi import Request
from fastapi.responses import StreamingResponse
from predictor import Piece, Predictor
from pydantic import PositiveFloat, PositiveInt
from requested import Document
from turns import Turns

from shared import guards, params, provenance, serving
from shared.guards import BadInput

FOLDER = Path(__file__).parent


class ServiceParams(serving.ServiceParams):
    max_characters: PositiveInt
    max_prompt_tokens: PositiveInt
    max_answer_tokens: PositiveInt
    wait_s: PositiveFloat
    generation_s: PositiveFloat
    processor_threads: PositiveInt
    upstream: str | None
    upstream_model: str


CONFIG = params.read("service", ServiceParams, FOLDER / "params.yaml")
PREDICTOR = Predictor(FOLDER / "export", CONFIG.processor_threads)
CHAIN = provenance.packaged(FOLDER)
TURNS = Turns(CONFIG.threads, CONFIG.wait_s, CONFIG.generation_s)

app = serving.application("incident-records", CONFIG, CHAIN, truth=dict[str, Any])
Record = dict[str, Any]


@app.post("/extract", openapi_extra=serving.body(Document), responses=requested.RESPONSES)
async def extract(request: Request) -> Any:
    """The record in a text; the truth for /feedback is the corrected record."""
    document = await serving.read(request, Document)
    text = requested.short_enough(document.text, CONFIG.max_characters, "text")
    prompt = PREDICTOR.prompt(text)
    pieces = TURNS.pieces(request, generation(text, prompt))
    if not document.stream:
        found = predictor.whole([piece async for piece in pieces])
        return serving.answer(request, CHAIN, finish(request, text, prompt, found))
    first = await anext(pieces)  # a refusal is still an answer with its own status
    events = streamed(request, text, prompt, first, pieces)
    return StreamingResponse(events, media_type="text/event-stream")


def generation(
    text: str, prompt: predictor.Prompt
) -> Callable[[Callable[[], bool]], Iterator[Piece]]:
    """How this text is answered: by the model here, or by the server that params.yaml names."""
    most = PREDICTOR.longest_answer
    if CONFIG.upstream:
        instruction = PREDICTOR.meta["instruction"]
        server = upstream.Server(CONFIG.upstream, CONFIG.upstream_model, CONFIG.generation_s)
        return lambda stopped: server.generate(instruction, text, PREDICTOR.schema, most, stopped)
    return lambda stopped: PREDICTOR.generate(prompt.tokens, PREDICTOR.schema, most, stopped)


def finish(
    request: Request, text: str, prompt: predictor.Prompt, found: predictor.Answer
) -> Record:
    """What is answered; the request log keeps what monitoring needs of it."""
    content = {"record": found.record, "confidence": found.confidence, "cut": prompt.cut}
    record = {
        "id": request.state.request_id,
        "model": CHAIN["model_version"],
        "confidence": found.confidence,
        "cut": prompt.cut,
        **prompt.features,
        "answers": monitor.kinds(found.record, PREDICTOR.schema),
    }
    if CONFIG.log_inputs:
        record |= {"text": text, "record": found.record}
    app.state.log.write(record)
    return content | {"ai_generated": True}


async def streamed(
    request: Request, text: str, prompt: predictor.Prompt, first: Piece, rest: AsyncIterator[Piece]
) -> AsyncIterator[str]:
    """Server-sent events: `piece` for each piece of text, then `record` as without streaming."""
    found = [first]
    yield event("piece", first.text)
    try:
        async for piece in rest:
            found.append(piece)
            yield event("piece", piece.text)
        content = finish(request, text, prompt, predictor.whole(found))
        yield event("record", json.loads(bytes(serving.answer(request, CHAIN, content).body)))
    except BadInput as error:
        yield event("error", {"error": error.reason, "field": error.field})


def event(name: str, content: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


app.include_router(chat.router(CONFIG, PREDICTOR, TURNS, CHAIN))


@bentoml.service(name="incident-records", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class IncidentRecords:
    """Mounts the app above; health checks, /metrics and the Swagger page are BentoML's."""


IncidentRecords.add_asgi_middleware(guards.Guard, **serving.guard(CONFIG, set()))
