"""Decoding in batches: every answer is a record, and a batch says what single prompts say."""

import json
import math
from pathlib import Path
from typing import Any

import base
import guided
import jsonschema
import pytest
import torch
from guided import Guide, Reading, answers, decode, problem_of

from genai.documents import NESTED, tiny_base

TEXTS = ["One.", "A much longer text about a clinic that lost 12 laptops.", "x" * 50]


@pytest.fixture(scope="module")
def model(small: Path) -> Any:
    return base.load(small / "tiny")


@pytest.fixture(scope="module")
def guide(small: Path) -> Guide:
    return Guide(base.tokenizer(small / "tiny"), NESTED)


def tokens(guide: Guide) -> list[list[int]]:
    return [guide.tokenizer(text)["input_ids"] for text in TEXTS]


def test_every_answer_keeps_the_schema(model: Any, guide: Guide) -> None:
    for found in answers(model, guide, tokens(guide), 300, 2, "test"):
        assert found.whole and 0 <= found.confidence <= 1
        jsonschema.validate(json.loads(found.text), NESTED)


@pytest.mark.parametrize("padding", [1, 271])
def test_a_model_may_be_wider_than_its_tokenizer(
    base_model: Path, tmp_path: Path, padding: int
) -> None:
    tiny_base(base_model, tmp_path, padding)
    wide, guide = base.load(tmp_path), Guide(base.tokenizer(tmp_path), NESTED)
    for found in decode(wide, guide, tokens(guide), 300):
        jsonschema.validate(json.loads(found.text), NESTED)


def test_padding_changes_nothing(model: Any, guide: Guide) -> None:
    together = decode(model, guide, tokens(guide), 60)
    alone = [decode(model, guide, [prompt], 60)[0] for prompt in tokens(guide)]
    assert [one.text for one in together] == [one.text for one in alone]


def test_a_limit_cuts_an_answer_and_says_so(model: Any, guide: Guide) -> None:
    (found,) = decode(model, guide, tokens(guide)[:1], 5)
    assert not found.whole


def test_surprise_is_that_of_the_plain_model_and_leaves_no_trace(model: Any, guide: Guide) -> None:
    prompts, truths = tokens(guide), [[5, 6, 7], [8], [9, 10]]
    with torch.inference_mode():
        reading = Reading(model, prompts, guide.end)
        before = reading.logits.clone()
        found = reading.surprise(truths)
        for prompt, truth, value in zip(prompts, truths, found, strict=True):
            logits = model(torch.tensor([prompt + truth])).logits[0].log_softmax(1)
            places = range(len(prompt) - 1, len(prompt) + len(truth) - 1)
            told = [float(logits[i, t]) for i, t in zip(places, truth, strict=True)]
            assert math.isclose(value, -sum(told) / len(told), rel_tol=1e-3)
        one = torch.ones((3, 1), dtype=torch.long)
        again = Reading(model, prompts, guide.end)
        step = reading.follow(before.argmax(1)[:, None], one, 1)
        assert torch.allclose(step, again.follow(before.argmax(1)[:, None], one, 1), atol=1e-4)


def test_a_schema_that_cannot_guide_says_why() -> None:
    assert problem_of(NESTED) == ""
    assert "nonsense" in problem_of({"type": "nonsense"})
    assert guided.problem_of({"type": "string", "pattern": "("})
