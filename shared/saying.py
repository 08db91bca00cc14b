"""Which model a running service says that it serves."""

import http.client
import json
import os
import time
import urllib.request


def served(url: str, version: str, seconds: float, tries: int = 20) -> bool:
    """Wait until /info says `version` so many times in a row; False after `seconds`.

    Each try is a new connection, which any of the service's workers may take.
    """
    deadline = time.monotonic() + seconds
    while not all(says(url) == version for _ in range(tries)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def says(url: str) -> str | None:
    """The version that /info of a service says; None while it does not answer."""
    request = urllib.request.Request(url.rstrip("/") + "/info")  # noqa: S310 (our own service)
    if token := os.environ.get("SERVICE_TOKEN"):
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return str(json.load(response).get("model_version"))
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return None
