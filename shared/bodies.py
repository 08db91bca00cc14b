"""A request's body as a checked model, and OpenAPI's description of bodies and refusals."""

import sys
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from shared.guards import BadInput
from shared.requestlog import written

Model = TypeVar("Model", bound=BaseModel)


class Problem(BaseModel):
    """Every refusal: what is wrong, with which field, and the request's id."""

    error: str
    field: str
    request_id: str | None


# What any route may answer besides 200: OpenAPI's description.
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The input is wrong; `field` says where"},
    401: {"model": Problem, "description": "The token is missing or wrong"},
    404: {"model": Problem, "description": "There is no such route or request id"},
    405: {"model": Problem, "description": "The route has another method"},
    408: {"model": Problem, "description": "The body did not arrive in time"},
    413: {"model": Problem, "description": "The body or the picture is too large"},
    415: {"model": Problem, "description": "The content type is not one of those listed"},
    429: {
        "model": Problem,
        "description": "Too many requests in progress; try again after Retry-After seconds",
    },
    500: {"model": Problem, "description": "Our mistake; the log has the request's id"},
    504: {"model": Problem, "description": "The answer took too long"},
}

# The guard has bounded what is in memory; Starlette would write forms above a megabyte to /tmp too.
MultiPartParser.spool_max_size = sys.maxsize


async def read(request: Request, model: type[Model], file_field: str = "") -> Model:
    """The request's body as `model`: JSON, a form with the file in `file_field`, or the bare file.

    Raises BadInput naming the first wrong field.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            return model.model_validate_json(await request.body() or b"{}", strict=True)
        if kind == "multipart/form-data":
            return model.model_validate(await _form(request))
        if not file_field:
            raise BadInput("content-type", f"{kind!r:.80} is not application/json", 415)
        return model.model_validate(
            {**_once(request.query_params.multi_items()), file_field: await request.body()}
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise BadInput(field[:80], first["msg"][:200]) from None


def finite(value: Any) -> Any:
    """The value itself. Raises ValueError for a number that JSON has not, which `Any` takes."""
    written(value)
    return value


async def _form(request: Request) -> dict[str, Any]:
    try:
        async with request.form(max_files=1, max_fields=20) as form:
            fields = _once(form.multi_items())
            return {
                key: await value.read() if isinstance(value, UploadFile) else value
                for key, value in fields.items()
            }
    except HTTPException as error:
        raise BadInput("body", str(error.detail)[:200]) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a mapping; BadInput names a field that is given twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadInput(max(names, key=names.count)[:80], "is given more than once")
    return fields


def body(
    model: type[BaseModel], file_field: str = "", file_types: tuple[str, ...] = ()
) -> dict[str, Any]:
    """OpenAPI's description of a body that `read` takes."""
    schema = model.model_json_schema()
    schema = _inlined(schema, schema.get("$defs", {}))
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if file_field:
        binary = {"type": "string", "format": "binary"}
        form = {**schema, "properties": {**schema["properties"], file_field: binary}}
        content |= {"multipart/form-data": {"schema": form}} | {
            kind: {"schema": binary} for kind in file_types
        }
    return {"requestBody": {"required": True, "content": content}}


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    """A schema with its definitions where they are referred to: `#` is OpenAPI's whole document."""
    if isinstance(part, list):
        return [_inlined(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    own = {key: _inlined(one, definitions) for key, one in part.items() if key != "$defs"}
    if isinstance(name := own.pop("$ref", None), str):
        own = _inlined(definitions[name.removeprefix("#/$defs/")], definitions) | own
    return own
