"""What the request log keeps of chat answers, and of requests that ended without their answer.

Neither is an answer of /extract: of both the monitor measures no more than `live.valid_share`, the
share of requests to /extract that did not fail.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from predictor import Piece, Predictor
from requested import Conversation

from shared import serving
from shared.guards import BadInput
from shared.models import Loaded

Json = dict[str, Any]
FAILED = (422, 503, 504)  # asked in vain: no end of the record, of another server, of the time


@contextlib.contextmanager
def failures(request: Request, loaded: Loaded[Predictor], record: Json) -> Iterator[None]:
    """Keeps `record` of a request that the model was asked and that ends without its answer."""
    try:
        yield
    except Exception as error:
        status = error.status if isinstance(error, BadInput) else 500
        if status in (*FAILED, 500):
            serving.keep(request, loaded, record | {"failed": status})
        raise


def conversation(
    request: Request, asked: Conversation, model: Predictor, read: tuple[int, bool], inputs: bool
) -> Json:
    """What is kept of a conversation, its texts only with `inputs`, and then masked if texts were.

    read: tokens of the prompt, and whether the text was cut.
    """
    wanted = asked.response_format.type if asked.response_format else "json_object"
    found: Json = {"route": request.url.path, "turns": len(asked.messages), "format": wanted}
    found |= {"stream": bool(asked.stream), "prompt_tokens": read[0], "cut": read[1]}
    if inputs:
        said = [{"role": one.role, "content": model.masked(one.text)} for one in asked.messages]
        found |= {"messages": said}
    return found


def reply(found: list[Piece], reason: str, inputs: bool) -> Json:
    """What is kept of its answer."""
    surprise = sum(piece.surprise for piece in found)
    kept: Json = {"answer_tokens": sum(piece.tokens for piece in found), "finish_reason": reason}
    kept |= {"confidence": None if math.isnan(surprise) else math.exp(-surprise)}
    return kept | ({"answer": "".join(piece.text for piece in found)} if inputs else {})
