"""Ids of requests, signed by the service, so that feedback cannot invent them."""

import fcntl
import hmac
import os
import secrets
from pathlib import Path

BYTES = 32


def new(secret: bytes) -> str:
    """24 random hex digits and 16 that prove that this service made them."""
    return (identity := secrets.token_hex(12)) + _signature(identity, secret)


def is_ours(request_id: str, secret: bytes) -> bool:
    expected = _signature(request_id[:24], secret)
    return hmac.compare_digest(expected.encode(), request_id[24:].encode("utf-8", "replace"))


def _signature(identity: str, secret: bytes) -> str:
    return hmac.new(secret, identity.encode("utf-8", "replace"), "sha256").hexdigest()[:16]


def signing_secret(folder: Path) -> bytes:
    """What signs the ids: SERVICE_SECRET, or made once beside the log for all workers."""
    if given := os.environ.get("SERVICE_SECRET"):
        return given.encode()
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / ".secret", folder / f".secret.{secrets.token_hex(4)}"
    if path.exists() and len(found := path.read_bytes()) >= BYTES:
        return found
    with (folder / ".secret.lock").open("a") as lock:  # of several workers one makes it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists() or path.stat().st_size < BYTES:  # a power cut may leave it empty
            draft.touch(mode=0o600)
            with draft.open("wb") as file:
                file.write(secrets.token_bytes(BYTES))
                os.fsync(file.fileno())
            draft.replace(path)
    return path.read_bytes()
