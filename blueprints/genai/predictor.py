"""Records from texts without torch or transformers: ONNX Runtime GenAI on `export/`.

The one place of pre- and post-processing: service, batch and export checks call this file.
Decoding is greedy and follows the schema, so every answer that ends is a record of it.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import masking
import numpy as np
import onnxruntime_genai as og
import prompts
import records
import traces
from prompts import Frame

from shared.guards import BadInput

Ids = list[int]
Json = dict[str, Any]


class Piece(NamedTuple):
    """Some text of an answer, the number of tokens behind it, and how surprising these were."""

    text: str
    tokens: int
    surprise: float  # nats; NaN where another server does not say
    end: bool = False  # the token that ends an answer


class Prompt(NamedTuple):
    """What the model is asked: tokens, and what monitoring keeps of the text."""

    tokens: Ids
    cut: bool  # the text was longer than the model may read
    features: dict[str, float]
    text: str  # as `masked` gives it: what may be logged, or sent to another server


class Answer(NamedTuple):
    """A record, and the probability that the model itself gave to its text; None if not known."""

    record: Any
    text: str
    confidence: float | None


class Predictor:
    """An exported model: `folder` holds the ONNX files, the tokenizer and model.json."""

    def __init__(self, folder: str | Path = "export", threads: int = 2) -> None:
        folder = Path(folder)
        self.meta: Json = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        config = og.Config(str(folder))
        session = {"session_options": {"intra_op_num_threads": threads}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        self.model = og.Model(config)
        self.tokenizer = og.Tokenizer(self.model)
        self.frame, self.schema = Frame(**self.meta["frame"]), self.meta["schema"]
        self.longest_answer = int(self.meta["max_answer_tokens"])
        self.masks = self.meta.get("personal_data") == "mask"  # older exports do not say

    def encode(self, text: str) -> Ids:
        """The tokens of a piece of text."""
        return [int(token) for token in self.tokenizer.encode(text)] if text else []

    def masked(self, text: str) -> str:
        """The text without personal data, if `validate` has masked them in what was learnt."""
        return masking.masked(text) if self.masks else text

    def prompt(self, text: str) -> Prompt:
        """A text as in training: masked if texts were, cleaned, cut where it is too long, in the
        frame of the prompt."""
        text = self.masked(text)
        cleaned = prompts.clean(text, self.frame.special)
        most, where = self.meta["max_text_tokens"], self.meta["truncate"]
        tokens, inner = prompts.tokens(self.encode, self.frame, cleaned, most, where)
        return Prompt(tokens, len(inner) > most, traces.features(cleaned, inner), text)

    def chat(self, messages: list[dict[str, str]]) -> Ids:
        """A conversation in the model's own template, masked if texts were; what looks like a
        command in it is split."""
        cleaned = [
            message
            | {"content": prompts.clean(self.masked(message["content"]), self.frame.special)}
            for message in messages
        ]
        return self.encode(self.tokenizer.apply_chat_template(json.dumps(cleaned)))

    def generate(
        self,
        tokens: Ids,
        schema: Json | None,
        most: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Piece]:
        """Pieces of the answer as they come; ends early when `stopped()`.

        schema: of the record, None for free text. most: tokens of the answer.
        Raises BadInput where decoding cannot follow the schema.
        """
        settings = og.GeneratorParams(self.model)
        settings.set_search_options(max_length=len(tokens) + most, do_sample=False)
        if schema is not None:
            settings.set_guidance("json_schema", json.dumps(records.guidance(schema)))
        try:
            generator = og.Generator(self.model, settings)
        except RuntimeError as error:
            raise BadInput("response_format", f"cannot be followed: {error}"[:200]) from None
        stream = self.tokenizer.create_stream()
        generator.append_tokens(np.array(tokens, np.int32))
        while not generator.is_done() and not stopped():
            try:
                logits = generator.get_logits().reshape(-1)
                generator.generate_next_token()
            except RuntimeError as error:  # of the library that guides: the schema is too much
                raise BadInput("response_format", f"cannot be followed: {error}"[:200]) from None
            token = int(generator.get_next_tokens()[0])
            top = float(logits.max())
            total = top + math.log(float(np.exp(logits - top).sum()))
            end = generator.is_done() and token in self.ends
            text = "" if end else stream.decode(token)
            yield Piece(text, 1, total - float(logits[token]), end)

    @property
    def ends(self) -> set[int]:
        """Tokens that end an answer."""
        return {int(token) for token in self.tokenizer.eos_token_ids}

    def answer(self, text: str) -> Answer:
        """The record in a text. Raises BadInput where it does not end within the limit."""
        pieces = list(self.generate(self.prompt(text).tokens, self.schema, self.longest_answer))
        return whole(pieces)


def whole(pieces: list[Piece]) -> Answer:
    """An answer from its pieces."""
    text = "".join(piece.text for piece in pieces)
    try:
        record = json.loads(text)
    except ValueError:
        reason = f"its record does not end within {len(pieces)} tokens"
        raise BadInput("text", reason, 422) from None
    surprise = sum(piece.surprise for piece in pieces)
    return Answer(record, text, None if math.isnan(surprise) else math.exp(-surprise))
