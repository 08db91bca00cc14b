"""Parts of OpenAI's answers."""

import time
from typing import Any

from fastapi import Request
from predictor import Piece
from requested import Conversation

Json = dict[str, Any]


def head(request: Request, chain: Json, kind: str) -> Json:
    identity = f"chatcmpl-{request.state.request_id}"
    return {"id": identity, "object": kind, "created": int(time.time()), "model": chain["name"]}


def usage(asked: int, answered: int) -> dict[str, int]:
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
    }


def told(asked: Conversation, pieces: list[Piece]) -> Json | None:
    """Log-probabilities of the pieces, where the client asked for them."""
    if not asked.logprobs:
        return None
    rows = [{"token": piece.text, "logprob": -piece.surprise} for piece in pieces]
    return {"content": [row | {"bytes": None, "top_logprobs": []} for row in rows]}


def ending(found: list[Piece], most: int) -> str:
    """Why the answer ended: its last token was an end, or the limit was met."""
    return "length" if len(found) >= most and found[-1].text else "stop"
