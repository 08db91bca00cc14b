"""The same answers from another OpenAI-compatible server: vLLM on a GPU with the merged model.

`service.upstream` in params.yaml names it, the environment variable UPSTREAM_KEY has the key that
it may ask for; guards, limits, log and provenance stay here.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import httpx
import numpy as np
import prompts
import records
from predictor import Piece, Predictor, Prompt

from shared.guards import BadInput

Json = dict[str, Any]
Messages = list[dict[str, str]]
Stopped = Callable[[], bool]
TOLD = {413: "cannot read that much", 429: "has no free place; try again"}  # as they are; else 503


class Asked(NamedTuple):
    """What a model reads: the one here its tokens, another server the messages."""

    tokens: list[int]
    cut: bool  # the text was longer than the model may read
    messages: Messages


def generation(
    config: Any, model: Predictor, asked: Asked, schema: Json | None, most: int
) -> Callable[[Stopped], Iterator[Piece]]:
    """How this is answered: by the model here, or by the server that params.yaml names."""
    if not config.upstream:
        return lambda stopped: model.generate(asked.tokens, schema, most, stopped)
    server = Server(config.upstream, config.upstream_model, config.generation_s)
    return lambda stopped: server.generate(asked.messages, schema, most, stopped)


class Server:
    """url: ends in /v1; model: the name there, for vLLM also that of a LoRA adapter."""

    def __init__(self, url: str, model: str, seconds: float) -> None:
        self.url, self.model, self.seconds = url.rstrip("/"), model, seconds
        key = os.environ.get("UPSTREAM_KEY")
        self.headers = {"authorization": f"Bearer {key}"} if key else {}

    def generate(
        self, messages: Messages, schema: Json | None, most: int, stopped: Stopped
    ) -> Iterator[Piece]:
        """Pieces of the answer as they come. Raises BadInput: 503 when the server fails, or TOLD.

        messages: as `alone` or `conversation` gives them; schema: None for free text, else bounded
        as it is for the model here.
        """
        body: Json = {
            "model": self.model,
            "stream": True,
            "max_tokens": most,
            "temperature": 0,
            "logprobs": True,
            "messages": messages,
        }
        if schema is not None:
            wanted = {"name": "record", "schema": bounded(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        try:
            where = f"{self.url}/chat/completions"
            own: Json = {"headers": self.headers, "timeout": self.seconds}
            with httpx.stream("POST", where, json=body, **own) as response:
                if (status := response.status_code) != 200:
                    reason = TOLD.get(status, f"answered {status}")
                    raise BadInput("upstream", reason, status if status in TOLD else 503)
                yield from _pieces(response.iter_lines(), stopped)
        except BadInput:
            raise
        except (httpx.HTTPError, ValueError) as error:
            raise BadInput("upstream", f"failed: {type(error).__name__}", 503) from None


def bounded(schema: Json) -> Json:
    found = records.guidance(schema)
    found.pop("x-guidance")  # of the decoder here
    return found


def alone(model: Predictor, prompt: Prompt) -> Asked:
    """One text under the instruction that the model was trained with."""
    told = {"role": "system", "content": model.meta["instruction"]}
    messages = [told, {"role": "user", "content": readable(model, prompt)}]
    return Asked(prompt.tokens, prompt.cut, messages)


def conversation(model: Predictor, messages: Messages) -> Asked:
    """Several turns, of which another server reads what the model here would: nothing is cut."""
    read = [
        one | {"content": prompts.clean(model.masked(one["content"]), model.frame.special)}
        for one in messages
    ]
    return Asked(model.chat(messages), False, read)


def readable(model: Predictor, prompt: Prompt) -> str:
    """What the model here reads of a text: without special tokens, cut where it is too long.

    The other server has the tokens of its own, which would end the text's turn.
    """
    if not prompt.cut:
        return prompts.clean(prompt.text, model.frame.special)
    before, after = (len(model.encode(part)) for part in (model.frame.before, model.frame.after))
    inner = prompt.tokens[before : len(prompt.tokens) - after]
    return prompts.clean(
        str(model.tokenizer.decode(np.array(inner, np.int32))), model.frame.special
    )


def _pieces(lines: Iterable[str], stopped: Stopped) -> Iterator[Piece]:
    """Of server-sent events, to their end mark; an answer of no token at all is a failure."""
    given = False
    for line in lines:
        if stopped():
            return
        if line == "data: [DONE]":
            if not given:
                raise BadInput("upstream", "answered nothing", 503)
            return
        if line.startswith("data: "):
            for piece in _piece(json.loads(line[6:])):
                given = True
                yield piece
    raise BadInput("upstream", "broke off in the middle of an answer", 503)


def _piece(chunk: Json) -> Iterator[Piece]:
    if "error" in chunk:
        raise BadInput("upstream", "failed in the middle of an answer", 503)
    for choice in chunk.get("choices", []):
        told = (choice.get("logprobs") or {}).get("content") or []
        text = choice.get("delta", {}).get("content") or ""
        end = choice.get("finish_reason") == "stop"
        if text or told or end:  # the first chunk has the role alone
            surprise = -sum(token["logprob"] for token in told) if told or not text else math.nan
            yield Piece(text, len(told) or len(text[:1]), surprise, end)
