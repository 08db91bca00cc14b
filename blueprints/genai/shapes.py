"""OpenAI's conversations as prompts, and parts of its answers."""

import math
import time
from typing import Any

import upstream
from fastapi import Request
from predictor import Piece, Predictor
from requested import Conversation, Format, short_enough

from shared.guards import BadInput

Json = dict[str, Any]


def head(request: Request, chain: Json, kind: str) -> Json:
    identity = f"chatcmpl-{request.state.request_id}"
    return {"id": identity, "object": kind, "created": int(time.time()), "model": chain["name"]}


def usage(asked: int, found: list[Piece]) -> dict[str, int]:
    answered = sum(piece.tokens for piece in found)
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }


def told(asked: Conversation, pieces: list[Piece]) -> Json | None:
    """Log-probabilities of the pieces, where the client asked for them and they are known."""
    if not asked.logprobs or any(math.isnan(piece.surprise) for piece in pieces):
        return None
    rows = [{"token": piece.text, "logprob": -piece.surprise} for piece in pieces if piece.tokens]
    return {"content": [row | {"bytes": None, "top_logprobs": []} for row in rows]}


def schema_of(asked: Conversation, predictor: Predictor) -> Json | None:
    """What the answer must follow."""
    wanted = asked.response_format
    if wanted is not None and wanted.type == "text":
        return None
    if wanted is not None and wanted.json_schema is not None and wanted.type == "json_schema":
        return wanted.json_schema.schema_
    return dict(predictor.schema)


def ending(found: list[Piece], most: int) -> str:
    """Why the answer ended: its last token was an end, or the limit was met."""
    return (
        "length" if sum(piece.tokens for piece in found) >= most and not found[-1].end else "stop"
    )


def prompt(asked: Conversation, predictor: Predictor, config: Any) -> upstream.Asked:
    """The conversation as a model reads it; BadInput where it is empty or too long.

    A single user's message is the text that the model was trained to read, cut as in training if
    the record is asked for; nobody's question is cut off.
    """
    messages = [
        {"role": "system" if one.role == "developer" else one.role, "content": one.text}
        for one in asked.messages
    ]
    for number, message in enumerate(messages):
        field, last = f"messages.{number}.content", number == len(messages) - 1
        short_enough(message["content"], config.max_characters, field, empty=not last)
    if messages[-1]["role"] != "user":
        raise BadInput("messages", "the last one must be the user's")
    if len(messages) == 1:
        found = predictor.prompt(messages[0]["content"])
        if found.cut and asked.response_format not in (None, Format(type="json_object")):
            most = predictor.meta["max_text_tokens"]
            reason = (
                f"has more than {most} tokens; a conversation may have {config.max_prompt_tokens}"
            )
            raise BadInput("messages.0.content", reason, 413)
        return upstream.alone(predictor, found)
    read = upstream.conversation(predictor, messages)
    if len(read.tokens) > config.max_prompt_tokens:
        reason = f"have {len(read.tokens)} tokens; the limit is {config.max_prompt_tokens}"
        raise BadInput("messages", reason, 413)
    return read
