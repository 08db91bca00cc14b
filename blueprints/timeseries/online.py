"""The newest features of a series as the service reads them from the online store.

SQLite's file is read as Feast writes it, without Feast, which with all it needs is 300 MB of an
image and most of the time of a start. Stores on a server are read by Feast.
"""

import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

VIEW = "series_history"  # as store.py names it
STRING, DOUBLES = 2, 15  # of Feast's types: a text's number, the field with a list of doubles
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
Rows = list[dict[str, Any]]


class File:
    """The SQLite file in an exported folder."""

    def __init__(self, path: Path, project: str) -> None:
        self.path, self.table = path, f"{project}_{VIEW}"

    def version(self) -> int:
        """A number that changes when what is online may have changed."""
        return self.path.stat().st_mtime_ns

    def newest(self, series_id: list[str]) -> Rows:
        """What is known of the series, in their order: series_id, features and `last`, the newest
        timestamp. A series that is not known is left out.
        """
        asked = f'SELECT feature_name, value FROM "{self.table}" WHERE entity_key = ?'  # noqa: S608
        with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            found = [(name, file.execute(asked, [key(name)]).fetchall()) for name in series_id]
        rows = []
        for name, pairs in found:
            row = {"series_id": name} | {feature: decoded(value) for feature, value in pairs}
            if row.get("recent") is not None:
                rows.append(row | {"last": EPOCH + timedelta(seconds=row["last"])})
        return rows


class Server:
    """Another online store of Feast's, which requirements-serve.txt then has to name."""

    def __init__(self, folder: Path) -> None:
        import store

        self.reader, self.store = store, store.reading(folder)

    def version(self) -> int:
        """What is online counts as new every minute."""
        return int(time.monotonic() / 60)

    def newest(self, series_id: list[str]) -> Rows:
        return list(self.reader.newest(self.store, series_id))


def reading(folder: Path) -> File | Server:
    """The online store that the feature_store.yaml in `folder` names."""
    config = yaml.safe_load((folder / "feature_store.yaml").read_text(encoding="utf-8"))
    if config["online_store"]["type"] == "sqlite":
        return File(folder / config["online_store"]["path"], config["project"])
    return Server(folder)


def key(series_id: str) -> bytes:
    """Feast's key of an entity, version 3: number of names; type, length and text of each part."""
    parts = [text.encode() for text in ("series_id", series_id)]
    packed = [struct.pack("<II", STRING, len(part)) + part for part in parts]
    return struct.pack("<I", 1) + b"".join(packed)


def decoded(value: bytes) -> Any:
    """What a protobuf message feast.types.Value holds: a number, a list of doubles or None."""
    for field, content in fields(value):
        if isinstance(content, int):
            return content - (content >> 63 << 64)
        if field == DOUBLES:
            lists = [packed for _, packed in fields(content)]
            return [number for packed in lists for (number,) in struct.iter_unpack("<d", packed)]
        return struct.unpack("<d", content)[0]
    return None


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field of a protobuf message, an integer or bytes."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == 0:
            content, at = varint(message, at)
            yield tag >> 3, content
            continue
        size, at = (8, at) if kind == 1 else varint(message, at)
        yield tag >> 3, message[at : at + size]
        at += size


def varint(message: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
