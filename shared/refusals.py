"""What a refused request is told: which field, what is wrong, and the id to ask about."""

import json
from typing import Any

from starlette.responses import Response

LATER = {"retry-after": "1"}
HEADERS = {429: LATER, 503: LATER, 401: {"www-authenticate": "Bearer"}}


class BadInput(ValueError):
    """A request that the caller can mend: which field, what is wrong, which limit it broke."""

    def __init__(self, field: str, reason: str, status: int = 400) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason, self.status = field, reason, status


def problem(path: str, error: BadInput, request_id: str | None) -> dict[str, Any]:
    """The error as a route at `path` tells it: under /v1 in OpenAI's shape, which its clients know.

    The id is in the header x-request-id there, where these clients look for it.
    """
    if not f"{path}/".startswith("/v1/"):
        return {"error": error.reason, "field": error.field, "request_id": request_id}
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    kind = "rate_limit_error" if error.status == 429 else kind
    about = {"message": str(error), "type": kind, "param": error.field, "code": str(error.status)}
    return {"error": about}


def response(path: str, error: BadInput, request_id: str | None) -> Response:
    """The whole answer; in ASCII, because half a surrogate has no UTF-8."""
    content = json.dumps(problem(path, error, request_id))
    headers = HEADERS.get(error.status)
    return Response(content, error.status, headers, media_type="application/json")
