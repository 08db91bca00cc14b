"""The same answers from another OpenAI-compatible server: vLLM on a GPU with the merged model.

`service.upstream` in params.yaml names it; guards, limits, log and provenance stay here.
"""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import prompts
import records
from predictor import Piece, Predictor, Prompt

from shared.guards import BadInput


class Server:
    """url: ends in /v1; model: the name there, for vLLM also that of a LoRA adapter."""

    def __init__(self, url: str, model: str, seconds: float) -> None:
        self.url, self.model, self.seconds = url.rstrip("/"), model, seconds

    def generate(
        self,
        instruction: str,
        text: str,
        schema: dict[str, Any],
        most: int,
        stopped: Callable[[], bool],
    ) -> Iterator[Piece]:
        """Pieces of the record as they come. Raises BadInput, 503, when the server fails.

        text: as `readable` gives it. The schema is bounded as it is for the model here.
        """
        wanted = {"name": "record", "schema": bounded(schema), "strict": True}
        body = {
            "model": self.model,
            "stream": True,
            "max_tokens": most,
            "temperature": 0,
            "logprobs": True,
            "response_format": {"type": "json_schema", "json_schema": wanted},
            "messages": [
                {"role": "system", "content": instruction},
                {"role": "user", "content": text},
            ],
        }
        try:
            where = f"{self.url}/chat/completions"
            with httpx.stream("POST", where, json=body, timeout=self.seconds) as response:
                if response.status_code != 200:
                    raise BadInput("upstream", f"answered {response.status_code}", 503)
                for line in response.iter_lines():
                    if stopped() or line == "data: [DONE]":
                        return
                    if line.startswith("data: "):
                        yield from _piece(json.loads(line[6:]))
        except BadInput:
            raise
        except (httpx.HTTPError, ValueError) as error:
            raise BadInput("upstream", f"failed: {type(error).__name__}", 503) from None


def bounded(schema: dict[str, Any]) -> dict[str, Any]:
    found = records.guidance(schema)
    found.pop("x-guidance")  # of the decoder here
    return found


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


def _piece(chunk: dict[str, Any]) -> Iterator[Piece]:
    if "error" in chunk:
        raise BadInput("upstream", "failed in the middle of an answer", 503)
    for choice in chunk.get("choices", []):
        told = (choice.get("logprobs") or {}).get("content") or []
        text = choice.get("delta", {}).get("content") or ""
        surprise = -sum(token["logprob"] for token in told) if told or not text else math.nan
        yield Piece(text, max(len(told), 1), surprise)
