"""The extraction service: POST /extract, /feedback, GET /info, and OpenAI's chat completions.

bentoml serve service:IncidentRecords        then open http://127.0.0.1:3000
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bentoml
import chat
import logged
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

from shared import params, requestids, serving
from shared.guards import BadInput
from shared.models import Loaded, Models

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


def load(folder: Path) -> Predictor:
    return Predictor(folder, CONFIG.processor_threads)


def interface(predictor: Predictor) -> dict[str, Any]:
    """What clients rely on."""
    return {"schema": predictor.schema}


def example(predictor: Predictor) -> list[Piece]:
    """The beginning of a model's answer to the example, before it is served."""
    tokens = predictor.prompt(requested.EXAMPLE).tokens
    pieces = list(predictor.generate(tokens, predictor.schema, 16))
    if not any(piece.text for piece in pieces):
        raise ValueError("the model says nothing")
    return pieces


CONFIG = params.read("service", ServiceParams, FOLDER / "params.yaml", prefix="SERVICE_")
MODELS = Models(FOLDER, load, interface, example)
SECRET = requestids.signing_secret(Path(CONFIG.log_folder))
TURNS = Turns(CONFIG.threads, CONFIG.wait_s, CONFIG.generation_s)

app = serving.application("incident-records", CONFIG, MODELS, truth=dict[str, Any])
Record = dict[str, Any]


@app.post("/extract", openapi_extra=serving.body(Document), responses=requested.RESPONSES)
async def extract(request: Request) -> Any:
    """The record in a text; the truth for /feedback is the corrected record."""
    document, loaded = await serving.read(request, Document), MODELS.now
    text = requested.short_enough(document.text, CONFIG.max_characters, "text")
    prompt = loaded.predictor.prompt(text)
    model, read = loaded.predictor, upstream.alone(loaded.predictor, prompt)
    generate = upstream.generation(CONFIG, model, read, model.schema, model.longest_answer)
    pieces = TURNS.pieces(request, generate)
    with logged.failures(request, loaded, of(prompt)):
        if not document.stream:
            found = predictor.whole([piece async for piece in pieces])
            return serving.answer(request, loaded, finish(request, loaded, prompt, found))
        first = await anext(pieces)  # a refusal is still an answer with its own status
    events = streamed(request, loaded, prompt, first, pieces)
    return StreamingResponse(events, media_type="text/event-stream")


def of(prompt: predictor.Prompt) -> Record:
    """What the request log keeps of a text, whatever is answered."""
    found = {"cut": prompt.cut, **prompt.features}
    return found | ({"text": prompt.text} if CONFIG.log_inputs else {})


def finish(
    request: Request,
    loaded: Loaded[Predictor],
    prompt: predictor.Prompt,
    found: predictor.Answer,
) -> Record:
    """What is answered; the request log keeps what monitoring needs of it."""
    content = {"record": found.record, "confidence": found.confidence, "cut": prompt.cut}
    record = {"confidence": found.confidence, **of(prompt)}
    record |= monitor.kept(found.record, loaded.predictor.schema, request.state.request_id, SECRET)
    if CONFIG.log_inputs:
        record |= {"record": found.record}
    serving.keep(request, loaded, record)
    return content | {"ai_generated": True}


async def streamed(
    request: Request,
    loaded: Loaded[Predictor],
    prompt: predictor.Prompt,
    first: Piece,
    rest: AsyncIterator[Piece],
) -> AsyncIterator[str]:
    """Server-sent events: `piece` for each piece of text, then `record` as without streaming."""
    found = [first]
    yield event("piece", first.text)
    try:
        with logged.failures(request, loaded, of(prompt)):
            async for piece in rest:
                found.append(piece)
                yield event("piece", piece.text)
            answer = predictor.whole(found)
        content = finish(request, loaded, prompt, answer)
        yield event("record", json.loads(bytes(serving.answer(request, loaded, content).body)))
    except BadInput as error:
        yield event("error", {"error": error.reason, "field": error.field})


def event(name: str, content: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


app.include_router(chat.router(CONFIG, MODELS, TURNS))


@bentoml.service(name="incident-records", image=serving.image(), **serving.settings(CONFIG))
@bentoml.asgi_app(app, path="/")
class IncidentRecords:
    """Mounts the app above; health checks and the Swagger page are BentoML's."""


serving.protect(IncidentRecords, app, CONFIG)
