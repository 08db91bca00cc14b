"""The one way from a text to a prompt, in training, evaluation and service; needs no library."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

MARK = "\u241fTEXT\u241f"  # stands for the text while the chat template is rendered
UNSEEN = (
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    r"\U000e0000-\U000e007f]"
)


class Frame(NamedTuple):
    """What stands before and after a text, and which tokens mean something to the model."""

    before: str
    after: str
    special: list[str]


def frame(tokenizer: Any, instruction: str) -> Frame:
    """The chat template of a Hugging Face tokenizer around the instruction and one text."""
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": MARK}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    before, found, after = prompt.partition(MARK)
    if not found or MARK in after:
        raise SystemExit("params.yaml: model.base: its chat template does not have the text once")
    special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    return Frame(before, after, sorted({token for token in special if len(token.strip()) > 1}))


def clean(text: str, special: list[str]) -> str:
    """The text without what would be a command to the model or to a terminal.

    Special tokens are split by a space, so that a report cannot end its own turn; what is not seen
    (controls but line ends and tabs, directions, tags) becomes spaces, lone surrogates "?".
    """
    text = text.encode("utf-8", "replace").decode()
    text = re.sub(UNSEEN, " ", text)
    if special:  # each place is looked at, so that tokens that overlap are all split
        text = re.sub(f"(?=(?:{'|'.join(map(re.escape, special))}))(.)", r"\1 ", text)
    return text.strip()


def cut(tokens: list[int], most: int, where: str) -> list[int]:
    """At most so many tokens of a text: its beginning, or with `middle` both of its ends."""
    if len(tokens) <= most:
        return tokens
    head = most if where == "end" else (most + 1) // 2
    return tokens[:head] + tokens[len(tokens) - (most - head) :]


def tokens(
    encode: Callable[[str], list[int]], parts: Frame, text: str, most: int, where: str
) -> tuple[list[int], list[int]]:
    """The whole prompt around a cleaned text, and all tokens of the text itself, before it is cut.

    encode: gives the tokens of a piece, adding none of its own; pieces are encoded one by one, so
    that no token reaches from the frame into the text.
    """
    inner = encode(text)
    return [*encode(parts.before), *cut(inner, most, where), *encode(parts.after)], inner
