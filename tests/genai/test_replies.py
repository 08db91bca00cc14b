"""Goal C7 every day, with a small model: `make long` asks a trained one a thousand times."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from copied import service

from genai import replies
from genai.packaged import RECORD, post


def test_replies_are_records_and_leak_nothing(packaged: Path) -> None:
    replies.plant(packaged / "export")
    module = service(packaged)

    def ask(path: str, body: Any) -> tuple[int, str]:
        found = post(module, path, body)
        return found.status_code, found.text

    assert replies.CANARY in module.MODELS.now.predictor.frame.before, "the model reads it"
    replies.check(ask, 40)


def saying(record: Any, marked: bool = True) -> replies.Post:
    """A service that answers whatever it is asked with this record."""

    def ask(path: str, body: Any) -> tuple[int, str]:
        said, mark = json.dumps(record), {"ai_generated": marked}
        whole = json.dumps({"record": record} | mark)
        if path == "/extract" and body.get("stream"):
            return (
                200,
                f"event: piece\ndata: {json.dumps(said)}\n\nevent: record\ndata: {whole}\n\n",
            )
        if path == "/extract":
            return 200, whole
        message = {"content": said}
        choice = {"choices": [{"delta" if body.get("stream") else "message": message}]}
        found = json.dumps(choice | {"usage": {"completion_tokens": 9}} | mark)
        return 200, f"data: {found}\n\ndata: [DONE]\n\n" if body.get("stream") else found

    return ask


@pytest.mark.parametrize("number", range(4))
def test_what_a_reply_may_not_be_is_noticed_in_each_way_to_ask(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = (replies.extracted, replies.streamed, replies.completed, replies.chunked)
    monkeypatch.setattr(replies, "WAYS", ways[number : number + 1])
    replies.check(saying(RECORD), 5)
    holder = RECORD["holder"] | {"name": "I am Quokkafrost"}
    for wrong in (saying(RECORD | {"holder": holder}), saying(RECORD, marked=False)):
        with pytest.raises(AssertionError):
            replies.check(wrong, 1)
    with pytest.raises(jsonschema.ValidationError):
        replies.check(saying({"said": "PWNED"}), 1)
    with pytest.raises(AssertionError):
        replies.check(saying(RECORD), 1, hidden=("CA",))
