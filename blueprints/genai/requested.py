"""What a request may ask, and how it is checked: each refusal names the field and the limit."""

from typing import Annotated, Any, Literal

import records
from prompts import clean
from pydantic import BaseModel, ConfigDict, Field

from shared.bodies import Problem
from shared.guards import BadInput

Json = dict[str, Any]
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
EXAMPLE = (
    "Two unencrypted laptops with the records of 1,874 patients were stolen from the clinic's "
    "office. The clinic notified the patients and the authorities."
)
MOST_MESSAGES, LONGEST_SCHEMA = 50, 10_000
RESPONSES: Json = {422: {"model": Problem, "description": "The record does not end in time"}}


class Document(BaseModel):
    """A text, and whether its record is wanted piece by piece."""

    model_config = STRICT | ConfigDict(
        json_schema_extra={"example": {"text": EXAMPLE, "stream": False}}
    )
    text: str = Field(description="what the record is to be made of")
    stream: bool = Field(default=False, description="answer with server-sent events")


class Part(BaseModel):
    model_config = STRICT
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a conversation, in OpenAI's shape."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class NamedSchema(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str = "record"
    schema_: Json = Field(alias="schema")


class Format(BaseModel):
    """text: unguided; json_object: the schema of this model; json_schema: one of the client's."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")
    include_usage: bool | None = False


class Conversation(BaseModel):
    """OpenAI's chat completion, as far as one greedy model can serve it; the rest is ignored."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"example": {"messages": [{"role": "user", "content": EXAMPLE}]}},
    )
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    logprobs: bool | None = False
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: Format | None = Field(
        default=None, description="default: the record that this model was trained for"
    )
    n: int | None = None
    tools: list[Json] | None = None


def check(asked: Conversation) -> None:
    """BadInput for what would silently be answered otherwise than asked."""
    if asked.n not in (None, 1):
        raise BadInput("n", "one answer only: decoding is greedy, so that all were the same")
    if asked.tools:
        raise BadInput("tools", "this model calls no tools; use response_format")
    wanted = asked.response_format
    if wanted and wanted.type == "json_schema":
        if wanted.json_schema is None:
            raise BadInput("response_format.json_schema", "is missing")
        if len(str(wanted.json_schema.schema_)) > LONGEST_SCHEMA:
            reason = f"has more than {LONGEST_SCHEMA} characters"
            raise BadInput("response_format.json_schema.schema", reason, 413)
        try:
            records.guidance(wanted.json_schema.schema_)
        except ValueError as error:
            reason = f"is {error}"[:200]
            raise BadInput("response_format.json_schema.schema", reason) from None


def short_enough(text: str, characters: int, field: str, empty: bool = False) -> str:
    """The text itself; BadInput where it is too long to be looked at, or empty and may not be."""
    if len(text) > characters:
        raise BadInput(field, f"has {len(text)} characters; the limit is {characters}", 413)
    if not empty and not clean(text, []):
        raise BadInput(field, "is empty")
    return text
