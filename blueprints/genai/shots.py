"""Retrieval instead of tuning: the most similar training examples stand in the prompt."""

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

Ids = list[int]
WORD = r"\w+|[^\w\s]"  # every text has some


def nearest(train: pd.DataFrame, texts: list[str], number: int) -> list[list[tuple[Ids, Ids]]]:
    """For each text, prompt and answer of the training examples nearest to it, the nearest last."""
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=WORD)
    known = words.fit_transform(train["text"])
    close = np.asarray((words.transform(texts) @ known.T).todense())
    order = np.argsort(close, axis=1, kind="stable")[:, max(0, len(train) - number) :]
    pairs = [(list(row.prompt), list(row.answer)) for row in train.itertuples()]
    return [[pairs[i] for i in row] for row in order]


def before(prompt: Ids, examples: list[tuple[Ids, Ids]]) -> Ids:
    """A prompt after some that were answered, each as a turn of its own."""
    turns = [token for asked, answer in examples for token in [*asked, *answer]]
    return [*turns, *prompt]
