"""What a monitor judges at a time: consecutive records of the request log."""

from typing import Any, NamedTuple

from shared.drift import Estimate, share


class Window(NamedTuple):
    """`rows` are answers of the request log, with `truth` where `labelled`; others `failed`."""

    labelled: bool
    model: str
    last: int  # number of its last row
    rows: list[dict[str, Any]]
    failed: int = 0

    @property
    def asked(self) -> int:
        return len(self.rows) + self.failed

    @property
    def stream(self) -> str:
        return f"{self.asked} {'labelled' if self.labelled else 'requests'}"

    @property
    def valid_share(self) -> Estimate:
        return share([True] * len(self.rows) + [False] * self.failed)
