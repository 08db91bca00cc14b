"""The test part in tokens, and how a model is asked for its records."""

import json
from pathlib import Path
from typing import Any

import guided
import numpy as np
import pandas as pd
import prompts
import scoring
from baselines import Rule
from prepare import encoder
from pydantic import Field, NonNegativeInt, PositiveInt
from records import Json

from shared import params

PREPARED = Path("data/prepared")


class EvaluateParams(params.Params):
    rules: tuple[Rule, ...]
    shots: NonNegativeInt
    paraphrases: dict[str, str]
    behaviour_examples: PositiveInt
    max_answer_tokens: PositiveInt
    batch_size: PositiveInt
    calibration_bins: PositiveInt
    failures_shown: NonNegativeInt
    seed: int = Field(ge=0)


class Test:
    """The test part in tokens, and a model's answers to it."""

    def __init__(self, config: EvaluateParams, tokenizer: Any) -> None:
        table = pd.read_parquet(PREPARED / "examples.parquet")
        self.config, self.meta = config, params.read_json(PREPARED / "meta.json")
        self.rows, self.train = table[table["split"] == "test"], table[table["split"] == "train"]
        self.truths = [json.loads(text) for text in self.rows["output"]]
        self.learnt = [json.loads(text) for text in self.train["output"]]
        self.guide = guided.Guide(tokenizer, self.meta["schema"])
        self.encode = encoder(tokenizer)

    def ask(self, network: Any, asked: list[list[int]], name: str, true: bool) -> list[Any]:
        """Answers to prompts; with the surprise of the true answers where these are known."""
        limit, size = self.config.max_answer_tokens, self.config.batch_size
        truths = [list(answer) for answer in self.rows["answer"]] if true else None
        return guided.answers(network, self.guide, asked, limit, size, name, truths)

    def prompt(self, text: str) -> list[int]:
        """A new text as a prompt, like those that `prepare` made."""
        parts = prompts.Frame(**self.meta["frame"])
        limit, where = self.meta["max_text_tokens"], self.meta["truncate"]
        return prompts.tokens(self.encode, parts, prompts.clean(text, parts.special), limit, where)[
            0
        ]

    def scores(self, found: list[guided.Answer]) -> Json:
        """Scores of one model's answers to the whole test part."""
        parsed = [scoring.parsed(answer.text) for answer in found]
        scores = scoring.score(parsed, self.truths, self.meta["schema"])
        known = [answer.surprise for answer in found if not np.isnan(answer.surprise)]
        return scores | ({"perplexity": float(np.exp(np.mean(known)))} if known else {})
