"""Retrieval: the nearest training examples, the nearest last, each a turn of its own."""

import numpy as np
import pandas as pd
import pytest
import shots

TEXTS = ["the red car was stolen", "a laptop was lost at the clinic", "mail went astray"]
TRAIN = pd.DataFrame(
    {
        "text": TEXTS,
        "prompt": [np.array([1, 2]), np.array([3]), np.array([4])],
        "answer": [np.array([10]), np.array([11]), np.array([12, 13])],
    },
    index=[7, 90, 4],
)


def test_the_nearest_stands_last_and_each_text_has_its_own() -> None:
    found = shots.nearest(TRAIN, ["lost: one laptop", "the mail"], 2)
    assert [row[-1] for row in found] == [([3], [11]), ([4], [12, 13])]
    assert [len(row) for row in found] == [2, 2]


def test_there_are_no_more_than_there_are() -> None:
    (found,) = shots.nearest(TRAIN, ["laptop"], 50)
    assert len(found) == 3 and found[-1] == ([3], [11])


@pytest.mark.parametrize("text", ["", "zzz", "!"])
def test_a_text_of_unknown_words_gets_some_examples(text: str) -> None:
    (found,) = shots.nearest(TRAIN, [text], 1)
    assert len(found) == 1


def test_none_are_none() -> None:
    assert shots.nearest(TRAIN, ["laptop"], 0) == [[]]


def test_training_texts_without_a_word_of_two_letters_are_no_error() -> None:
    table = TRAIN.assign(text=["a", "5", "我"])
    assert len(shots.nearest(table, ["5"], 2)[0]) == 2


def test_examples_stand_before_the_prompt_in_their_order() -> None:
    assert shots.before([9], [([1, 2], [10]), ([3], [11])]) == [1, 2, 10, 3, 11, 9]
    assert shots.before([9], []) == [9]
