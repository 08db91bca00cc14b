"""Requests are refused with field and limit, and what is ignored changes no answer."""

import json
from typing import Any

import pytest
import requested
from pydantic import ValidationError
from requested import Conversation, Document

from genai.documents import NESTED
from shared.guards import BadInput

USER = {"role": "user", "content": "A laptop."}


def asked(**changes: Any) -> Conversation:
    return Conversation.model_validate_json(json.dumps({"messages": [USER]} | changes), strict=True)


def schema(given: Any) -> dict[str, Any]:
    wanted = {"name": "x", "schema": given, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n": 1, "tools": [], "temperature": 0.5, "top_p": 1, "user": "me", "seed": 3},
        {"messages": [{"role": "developer", "content": "Be brief."}, USER | {"name": "a"}]},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        schema(NESTED),
        schema({}),
        {"stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 1},
    ],
)
def test_what_openais_clients_send_is_taken(changes: dict[str, Any]) -> None:
    requested.check(asked(**changes))


@pytest.mark.parametrize(
    ("changes", "field", "status"),
    [
        ({"n": 2}, "n", 400),
        ({"n": 0}, "n", 400),
        ({"tools": [{"type": "function"}]}, "tools", 400),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", 400),
        (schema({"a": "x" * 10_000}), "response_format.json_schema.schema", 413),
        (schema({"type": 5}), "response_format.json_schema.schema", 400),
        (schema({"enum": 5}), "response_format.json_schema.schema", 400),
        (schema({"anyOf": [5]}), "response_format.json_schema.schema", 400),
        (schema({"properties": [1]}), "response_format.json_schema.schema", 400),
        (schema({"type": [["a"]]}), "response_format.json_schema.schema", 400),
        (schema({"type": "string", "minLength": "x"}), "response_format.json_schema.schema", 400),
    ],
)
def test_what_would_be_answered_otherwise_is_refused(
    changes: dict[str, Any], field: str, status: int
) -> None:
    with pytest.raises(BadInput) as caught:
        requested.check(asked(**changes))
    assert (caught.value.field, caught.value.status) == (field, status)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"messages": []}, ("messages",)),
        ({"messages": [USER] * 51}, ("messages",)),
        ({"messages": [{"role": "tool", "content": "x"}]}, ("messages", 0, "role")),
        ({"messages": [{"role": "user"}]}, ("messages", 0, "content")),
        ({"max_tokens": 0}, ("max_tokens",)),
        ({"max_completion_tokens": -1}, ("max_completion_tokens",)),
        ({"response_format": {"type": "xml"}}, ("response_format", "type")),
        (schema([]), ("response_format", "json_schema", "schema")),
        ({"stream": "yes"}, ("stream",)),
    ],
)
def test_what_is_no_conversation_names_the_field(changes: Any, field: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        asked(**changes)
    assert caught.value.errors()[0]["loc"] == field


def test_parts_of_a_message_are_joined_and_pictures_are_refused() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    (message,) = asked(messages=[{"role": "user", "content": parts}]).messages
    assert message.text == "one\ntwo"
    assert asked().messages[0].text == "A laptop."
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    with pytest.raises(ValidationError, match="text"):
        asked(messages=[{"role": "user", "content": [picture]}])


@pytest.mark.parametrize(
    "body", [{}, {"text": 5}, {"text": None}, {"text": "x", "more": 1}, {"text": "x", "stream": 1}]
)
def test_a_document_has_a_text_and_nothing_unknown(body: Any) -> None:
    with pytest.raises(ValidationError):
        Document.model_validate_json(json.dumps(body), strict=True)


def test_the_examples_fit_their_schemas() -> None:
    for kind in (Document, Conversation):
        example = kind.model_json_schema()["example"]
        kind.model_validate_json(json.dumps(example), strict=True)


@pytest.mark.parametrize("text", ["", " \n\t", "\x00\x07", "\u200b\ufeff", "\u2066"])
def test_a_text_that_nobody_sees_is_empty(text: str) -> None:
    with pytest.raises(BadInput, match=r"messages.0: is empty") as caught:
        requested.short_enough(text, 10, "messages.0")
    assert caught.value.status == 400


def test_a_text_may_have_as_many_characters_as_the_limit() -> None:
    assert requested.short_enough("é" * 10, 10, "text") == "é" * 10
    for text in ("é" * 11, " " * 11):
        with pytest.raises(BadInput, match="has 11 characters; the limit is 10") as caught:
            requested.short_enough(text, 10, "text")
        assert caught.value.status == 413 and caught.value.field == "text"


@pytest.mark.parametrize("key", ["not", "items"])
def test_a_schema_too_deep_to_be_copied_is_refused_by_its_field(key: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(600):
        deep = {key: deep}
    named = {"type": "json_schema", "json_schema": {"schema": deep}}
    said = {"messages": [{"role": "user", "content": "a"}], "response_format": named}
    with pytest.raises(BadInput, match="schema"):
        requested.check(Conversation.model_validate(said))
