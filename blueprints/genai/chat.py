"""OpenAI's chat completions over the same model, so that existing clients work.

Without a `response_format` the answer is the record that the model was trained for; with
`json_schema` it follows the client's schema, with `text` none.
"""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import logged
import requested
import upstream
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from predictor import Piece, Predictor
from pydantic import BaseModel
from requested import Conversation
from shapes import ending, head, prompt, schema_of, told, usage
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


class Exchange(NamedTuple):
    """A conversation, its next turn's limit in tokens, and what the request log keeps of both."""

    request: Request
    loaded: Loaded[Predictor]
    asked: Conversation
    read: upstream.Asked
    most: int
    kept: Json
    inputs: bool  # texts are kept, too

    def ended(self, found: list[Piece]) -> str:
        """Why the answer ended; it is kept from now on."""
        reason = ending(found, self.most)
        record = self.kept | logged.reply(found, reason, self.inputs)
        serving.keep(self.request, self.loaded, record)
        return reason


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
        one = exchange(request, asked, loaded, config)
        schema = schema_of(asked, loaded.predictor)
        generate = upstream.generation(config, loaded.predictor, one.read, schema, one.most)
        pieces = turns.pieces(request, generate)
        with logged.failures(request, loaded, one.kept):
            if not asked.stream:
                return whole(one, [piece async for piece in pieces])
            first = await anext(pieces)
        return StreamingResponse(chunks(one, first, pieces), media_type="text/event-stream")

    return routes


def exchange(
    request: Request, asked: Conversation, loaded: Loaded[Predictor], config: Any
) -> Exchange:
    """Raises BadInput for a conversation that is empty or too long."""
    read = prompt(asked, loaded.predictor, config)
    wanted = asked.max_completion_tokens or asked.max_tokens or config.max_answer_tokens
    most, inputs = min(wanted, int(config.max_answer_tokens)), bool(config.log_inputs)
    about = (len(read.tokens), read.cut)
    kept = logged.conversation(request, asked, loaded.predictor, about, inputs)
    return Exchange(request, loaded, asked, read, most, kept, inputs)


def whole(one: Exchange, found: list[Piece]) -> Any:
    """The answer in OpenAI's shape."""
    message = {"role": "assistant", "content": "".join(piece.text for piece in found)}
    message |= {"refusal": None}
    choice = {"index": 0, "message": message, "logprobs": told(one.asked, found)}
    choice |= {"finish_reason": one.ended(found)}
    content = head(one.request, one.loaded.chain, "chat.completion")
    content |= {"choices": [choice], "usage": usage(len(one.read.tokens), found)}
    content |= {"ai_generated": True, "cut": one.read.cut}
    return serving.answer(one.request, one.loaded, content)


async def chunks(one: Exchange, first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[str]:
    """Server-sent events in OpenAI's shape, to the end mark."""
    request, asked = one.request, one.asked
    whole, found = head(request, one.loaded.chain, "chat.completion.chunk"), [first]
    whole |= {"ai_generated": True}

    def chunk(delta: Json, pieces: list[Piece], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": told(asked, pieces)}
        choices = [choice | {"finish_reason": reason}]
        return f"data: {json.dumps(whole | {'choices': choices})}\n\n"

    yield chunk({"role": "assistant", "content": first.text}, found)
    try:
        with logged.failures(request, one.loaded, one.kept):
            async for piece in rest:
                found.append(piece)
                yield chunk({"content": piece.text}, [piece])
    except BadInput as error:
        problem = refusals.problem(request.url.path, error, request.state.request_id)
        yield f"data: {json.dumps(problem)}\n\n"
        return
    whole |= {"cut": one.read.cut}
    yield chunk({}, [], one.ended(found))
    if asked.stream_options and asked.stream_options.include_usage:
        spent = usage(len(one.read.tokens), found)
        yield f"data: {json.dumps(whole | {'choices': [], 'usage': spent})}\n\n"
    yield "data: [DONE]\n\n"
