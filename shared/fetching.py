"""A bundle over a network that breaks: what came is kept, and only the rest is asked for again.

    python -m shared.updates fetch https://models.example/cv.bundle cv.bundle

Nothing that was fetched is believed: `install` checks its signature. FETCH_TOKEN is sent as a
bearer token, to the host of the address alone: not to another that it refers to.
"""

import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared import lineage, params
from shared.audit import Failed, Refused

CHUNK, TIMEOUT_S = 1 << 16, 30.0
TRIES, RETRY_S, MOST_RETRY_S = 8, 1.0, 60.0  # in a row without a byte; doubled with each
GONE = {401, 403, 404, 410}  # to ask again would be in vain


class Referred(urllib.request.HTTPRedirectHandler):
    """Follows a server that refers to another address, but not out of encryption."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise Failed(f"{req.full_url} refers to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, bundle: Path, retry_s: float = RETRY_S) -> int:
    """Fetch `url` to the file `bundle`, which has its name once it is whole; gives its bytes.

    A kill or power cut costs what the disk had not yet: the same call goes on behind the rest.
    Raises Refused before the first byte where there is no disk for two of it, Failed where the
    server has no such file or TRIES in a row bring nothing.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise Failed(f"{url}: an address with http or https is needed")
    part = bundle.with_name(f".{bundle.name}.part")
    vain = 0
    while True:
        before, reason = _size(part), "the connection ended early"
        try:
            if _whole(url, part):
                break
        except urllib.error.HTTPError as error:
            if error.code in GONE:
                raise Failed(f"{url}: {error.code} {error.reason}") from None
            reason = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename is not None:  # of our own disk
                raise
            reason = f"{type(error).__name__}: {error}"
        vain = 0 if _size(part) > before else vain + 1
        if vain == TRIES:
            raise Failed(f"{url}: {TRIES} tries in a row brought nothing: {reason}")
        time.sleep(min(retry_s * 2**vain, MOST_RETRY_S))
    lineage.sync(part)
    part.replace(bundle)
    _about(part).unlink()
    lineage.sync(bundle.parent)
    return bundle.stat().st_size


def _whole(url: str, part: Path) -> bool:
    """Ask for what is missing, and keep what comes; is it then all there?"""
    about = _described(part)
    have = _size(part) if about.get("url") == url and about.get("tag") else 0
    if have and have == about["size"]:
        return True
    headers = {"range": f"bytes={have}-", "if-range": about["tag"]} if have else {}
    asked = urllib.request.Request(url, headers=headers)  # noqa: S310 (checked above)
    if token := os.environ.get("FETCH_TOKEN"):
        asked.add_unredirected_header("authorization", f"Bearer {token}")
    with urllib.request.build_opener(Referred).open(asked, timeout=TIMEOUT_S) as answer:
        have = have if answer.status == 206 else 0  # another file by now, or a server without Range
        size = have + int(answer.headers.get("content-length") or 0)
        if size == have:
            raise Failed(f"{url}: the server does not say how large it is")
        if not have:
            _check_space(size, part)
            tag = answer.headers.get("etag") or answer.headers.get("last-modified")
            params.write_json(_about(part), {"url": url, "tag": tag, "size": size})
            lineage.sync(_about(part))
        _keep(answer, part, have)
    return _size(part) == size


def _keep(answer: Any, part: Path, have: int) -> None:
    with part.open("ab", buffering=0) as file:
        file.truncate(have)
        while chunk := answer.read1(CHUNK):
            try:
                file.write(chunk)
            except OSError as error:
                raise Failed(f"{part}: {error}") from None


def _check_space(size: int, part: Path) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < 2 * size:
        raise Refused(f"{2 * size / 1e6:.1f} MB of disk are needed, {free / 1e6:.1f} MB are free")


def _about(part: Path) -> Path:
    """Beside the part: of which file it is, and how large that is."""
    return part.with_suffix(".json")


def _described(part: Path) -> dict[str, Any]:
    """What it says; nothing where a power cut left it without content."""
    try:
        return dict(params.read_json(_about(part)))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
