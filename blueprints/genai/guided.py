"""Guided decoding with transformers: greedy, in batches, and every answer keeps the schema.

The same engine, llguidance, works inside ONNX Runtime GenAI when the model is served.
"""

import math
from typing import Any, NamedTuple

import llguidance.hf
import llguidance.numpy
import numpy as np
import torch
from llguidance import LLMatcher
from records import Json, guidance
from tqdm import tqdm

Ids = list[int]


class Answer(NamedTuple):
    """A decoded record."""

    text: str
    confidence: float  # probability that the model gave this record among all that are allowed
    whole: bool  # false: the limit of tokens cut it
    surprise: float  # of the true answer, where one was given: nats per token


def problem_of(schema: Json) -> str:
    """Why decoding cannot be guided by this schema; empty if it can."""
    try:
        grammar = LLMatcher.grammar_from_json_schema(schema)
    except ValueError as error:
        return str(error)[:300]
    return str(LLMatcher.validate_grammar(grammar))[:300]


class Guide:
    """A tokenizer and a schema, ready to say which tokens may come next."""

    def __init__(self, tokenizer: Any, schema: Json) -> None:
        self.tokenizer, self.end = tokenizer, tokenizer.eos_token_id
        self.inner = llguidance.hf.from_tokenizer(tokenizer)
        self.grammar = LLMatcher.grammar_from_json_schema(guidance(schema))

    def matchers(self, number: int) -> list[LLMatcher]:
        """A new state of decoding for each of `number` answers."""
        first = LLMatcher(self.inner, self.grammar)
        if first.is_error():
            raise ValueError(first.get_error())
        return [first, *(first.deep_copy() for _ in range(number - 1))]

    def allowed(self, matchers: list[LLMatcher], width: int) -> torch.Tensor:
        """[matchers, width] may this token come next? No text has those beyond the tokenizer."""
        known = self.inner.vocab_size
        mask = llguidance.numpy.allocate_token_bitmask(len(matchers), known)
        for row, matcher in enumerate(matchers):
            llguidance.numpy.fill_next_token_bitmask(matcher, mask, row)
        bits = np.unpackbits(mask.view(np.uint8), axis=1, bitorder="little")
        may = torch.from_numpy(bits[:, : min(known, width)].astype(bool))
        return torch.nn.functional.pad(may, (0, width - may.shape[1]))


class Reading:
    """A batch of prompts that a model has read; more tokens can follow."""

    def __init__(self, model: Any, prompts: list[Ids], filler: int) -> None:
        self.model, self.cache, widest = model, None, max(map(len, prompts))
        ids = torch.full((len(prompts), widest), filler)
        self.mask = torch.zeros((len(prompts), 0), dtype=torch.long)
        seen = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):  # to the right, so that all end together
            ids[row, widest - len(prompt) :] = torch.tensor(prompt)
            seen[row, widest - len(prompt) :] = 1
        self.logits = self.follow(ids, seen, 1)[:, -1]

    def follow(self, ids: torch.Tensor, seen: torch.Tensor, keep: int = 0) -> torch.Tensor:
        """Logits [rows, tokens, vocabulary] after these tokens; of the last `keep`, 0 for all."""
        self.mask = torch.cat([self.mask, seen], 1)
        output = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=(self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        self.cache = output.past_key_values
        return output.logits.float()

    def surprise(self, answers: list[Ids]) -> list[float]:
        """Mean negative log-likelihood of each answer's tokens, in nats; nothing stays read."""
        before, rows = self.mask, len(answers)
        ids = torch.zeros((rows, max(map(len, answers))), dtype=torch.long)
        seen = torch.zeros_like(ids)
        for row, answer in enumerate(answers):
            ids[row, : len(answer)] = torch.tensor(answer)
            seen[row, : len(answer)] = 1
        logits = torch.cat([self.logits[:, None], self.follow(ids, seen)[:, :-1]], 1)
        told = logits.log_softmax(2).gather(2, ids[:, :, None])[:, :, 0]
        self.mask = before
        self.cache.crop(-ids.shape[1])  # type: ignore[attr-defined]
        return [float(x) for x in -(told * seen).sum(1) / seen.sum(1)]


@torch.inference_mode()
def decode(
    model: Any, guide: Guide, prompts: list[Ids], limit: int, truths: list[Ids] | None = None
) -> list[Answer]:
    """Answers to a batch of prompts: the likeliest allowed token, until the record is closed."""
    rows, reading = len(prompts), Reading(model, prompts, guide.end)
    surprise = reading.surprise(truths) if truths else [math.nan] * rows
    matchers, found = guide.matchers(rows), [[] for _ in prompts]
    unsure, open_, logits = np.zeros(rows), np.ones(rows, dtype=bool), reading.logits
    for _ in range(limit):
        may = guide.allowed(matchers, logits.shape[1])
        best, chosen = logits.masked_fill(~may, -math.inf).log_softmax(1).max(1)
        for row in np.flatnonzero(open_):
            token = int(chosen[row])
            unsure[row] -= float(best[row])
            open_[row] = matchers[row].consume_token(token) and not matchers[row].is_stopped()
            if token != guide.end:
                found[row].append(token)
        if not open_.any():
            break
        logits = reading.follow(chosen[:, None], torch.ones((rows, 1), dtype=torch.long), 1)[:, -1]
    texts = guide.tokenizer.batch_decode(found, skip_special_tokens=True)
    sure = np.exp(-unsure).tolist()
    return [Answer(*row) for row in zip(texts, sure, (~open_).tolist(), surprise, strict=True)]


def answers(
    model: Any,
    guide: Guide,
    prompts: list[Ids],
    limit: int,
    batch_size: int,
    name: str,
    truths: list[Ids] | None = None,
) -> list[Answer]:
    """Answers to any number of prompts, in their order; similar lengths share a batch."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    parts = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    found: dict[int, Answer] = {}
    for part in tqdm(parts, desc=name, unit="batch"):
        true = [truths[i] for i in part] if truths else None
        found |= dict(
            zip(part, decode(model, guide, [prompts[i] for i in part], limit, true), strict=True)
        )
    return [found[i] for i in range(len(prompts))]
