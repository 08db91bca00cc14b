"""A model with the newest features of its series; answers by id are kept while they are true."""

import contextlib
import os
from pathlib import Path
from typing import Any

import online
from predictor import Predictor

from shared.requestlog import written

MOST_KEPT, LONGEST_KEPT = 10_000, 1000  # answers by id, and bytes of such a question
# What is answered, and what the log keeps of it; as JSON where it is written more than once.
Made = tuple[dict[str, Any], dict[str, Any] | bytes]


class Forecaster(Predictor):
    """A model, the newest features of the series that it knows, and answers made of both.

    Another online store (Redis, PostgreSQL) is a folder with its own feature_store.yaml.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = online.reading(Path(os.environ.get("FEATURE_STORE", folder / "store")))
        self.kept: dict[bytes, tuple[int, Made]] = {}

    def made(self, body: bytes, version: int) -> Made | None:
        """What was answered to the same bytes, unless the store has changed since."""
        found = self.kept.get(body)
        return found[1] if found and found[0] == version else None

    def keep(self, body: bytes, version: int, made: Made) -> None:
        if len(self.kept) >= MOST_KEPT:
            self.kept.clear()
        content, record = made
        if len(body) <= LONGEST_KEPT and isinstance(record, dict):
            with contextlib.suppress(ValueError):  # a number that is none
                self.kept[body] = version, (content, written(record))
