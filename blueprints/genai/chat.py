"""OpenAI's chat completions over the same model, so that existing clients work.

Without a `response_format` the answer is the record that the model was trained for; with
`json_schema` it follows the client's schema, with `text` none.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import requested
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from predictor import Piece, Predictor
from pydantic import BaseModel
from requested import Conversation
from shapes import ending, head, prompt, told, usage
from turns import Turns

from shared import bodies, refusals, serving
from shared.guards import BadInput
from shared.models import Loaded, Models

Json = dict[str, Any]


class Fault(BaseModel):
    """What is wrong, for whom to mend it, and with which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refusal(BaseModel):
    """A refusal in OpenAI's shape; its clients print the message."""

    error: Fault


def router(config: Any, models: Models[Predictor], turns: Turns) -> APIRouter:
    """GET /v1/models and POST /v1/chat/completions."""
    refused = bodies.RESPONSES | requested.RESPONSES
    routes = APIRouter(
        responses={code: about | {"model": Refusal} for code, about in refused.items()}
    )

    @routes.get("/v1/models")
    def served() -> Json:
        """The one model that is served."""
        name = models.now.chain["name"]
        one = {"id": name, "object": "model", "created": 0, "owned_by": "this service"}
        return {"object": "list", "data": [one]}

    @routes.post("/v1/chat/completions", openapi_extra=serving.body(Conversation))
    async def complete(request: Request) -> Any:
        """The next turn of a conversation."""
        asked, loaded = await serving.read(request, Conversation), models.now
        requested.check(asked)
        predictor = loaded.predictor
        tokens, cut = prompt(asked, predictor, config)
        most = min(asked.max_completion_tokens or asked.max_tokens or 10**9, answer_limit(config))
        schema = schema_of(asked, predictor)
        pieces = turns.pieces(
            request, lambda stopped: predictor.generate(tokens, schema, most, stopped)
        )
        if asked.stream:
            first = await anext(pieces)
            events = chunks(request, asked, loaded, (tokens, cut), most, first, pieces)
            return StreamingResponse(events, media_type="text/event-stream")
        found = [piece async for piece in pieces]
        message = {"role": "assistant", "content": "".join(piece.text for piece in found)}
        message |= {"refusal": None}
        choice = {"index": 0, "message": message, "logprobs": told(asked, found)}
        choice |= {"finish_reason": ending(found, most)}
        content = head(request, loaded.chain, "chat.completion")
        content |= {"choices": [choice], "usage": usage(len(tokens), len(found))}
        return serving.answer(request, loaded, content | {"ai_generated": True, "cut": cut})

    return routes


def answer_limit(config: Any) -> int:
    return int(config.max_answer_tokens)


def schema_of(asked: Conversation, predictor: Predictor) -> Json | None:
    """What the answer must follow."""
    wanted = asked.response_format
    if wanted is not None and wanted.type == "text":
        return None
    if wanted is not None and wanted.json_schema is not None and wanted.type == "json_schema":
        return wanted.json_schema.schema_
    return dict(predictor.schema)


async def chunks(
    request: Request,
    asked: Conversation,
    loaded: Loaded[Predictor],
    read: tuple[list[int], bool],
    most: int,
    first: Piece,
    rest: AsyncIterator[Piece],
) -> AsyncIterator[str]:
    """Server-sent events in OpenAI's shape, to the end mark; read: what `prompt` gives."""
    whole, found = head(request, loaded.chain, "chat.completion.chunk"), [first]

    def chunk(delta: Json, pieces: list[Piece], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": told(asked, pieces)}
        choices = [choice | {"finish_reason": reason}]
        return f"data: {json.dumps(whole | {'choices': choices})}\n\n"

    yield chunk({"role": "assistant", "content": first.text}, found)
    try:
        async for piece in rest:
            found.append(piece)
            yield chunk({"content": piece.text}, [piece])
    except BadInput as error:
        problem = refusals.problem(request.url.path, error, request.state.request_id)
        yield f"data: {json.dumps(problem)}\n\n"
        return
    whole |= {"cut": read[1]}
    yield chunk({}, [], ending(found, most))
    if asked.stream_options and asked.stream_options.include_usage:
        spent = usage(len(read[0]), len(found))
        yield f"data: {json.dumps(whole | {'choices': [], 'usage': spent})}\n\n"
    yield "data: [DONE]\n\n"
