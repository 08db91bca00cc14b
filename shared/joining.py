"""What the monitor knows: requests and truths from the logs, joined by id, in one SQLite file.

Log lines and how far each log was read are stored in one transaction, so that a kill at any moment
counts every record once. Rows keep the order of arrival: clocks may jump, numbers do not. What was
answered while the clock was not to be believed, or on another `route` than the one that is judged,
belongs to no model, so to no window; nor does the truth about what `failed` to be answered.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shared import requestlog, retention
from shared.requestlog import parsed, written

Row = dict[str, Any]

TABLES = """
CREATE TABLE IF NOT EXISTS offsets (part TEXT PRIMARY KEY, offset INTEGER);
CREATE TABLE IF NOT EXISTS requests (
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, model TEXT, stored REAL, record TEXT);
CREATE TABLE IF NOT EXISTS labels (
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, model TEXT, truth TEXT);
CREATE TABLE IF NOT EXISTS early (id TEXT PRIMARY KEY, stored REAL, truth TEXT);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER);
CREATE INDEX IF NOT EXISTS requests_of_model ON requests (model, n);
CREATE INDEX IF NOT EXISTS labels_of_model ON labels (model, n);
"""
ANSWER = "coalesce(json_extract(record, '$.route'), json_extract(record, '$.failed')) IS NULL"
KEPT = {
    False: "SELECT n, record, NULL FROM requests WHERE model = ? AND n > ? ORDER BY n LIMIT ?",
    True: "SELECT labels.n, record, truth FROM labels JOIN requests USING (id) "
    "WHERE labels.model = ? AND labels.n > ? ORDER BY labels.n LIMIT ?",
}
MODELS = {
    False: "SELECT model FROM requests WHERE model IS NOT NULL GROUP BY model ORDER BY min(n)",
    True: "SELECT model FROM labels WHERE model IS NOT NULL GROUP BY model ORDER BY min(n)",
}
COUNT = (
    "INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + "
    "excluded.value"
)
SERVING = (
    "SELECT model, sum(count(*)) OVER () FROM (SELECT model, n, json_extract(record, '$.time') "
    "AS time FROM requests WHERE model IS NOT NULL ORDER BY n DESC LIMIT ?) WHERE "
    "coalesce(time, 1e99) >= ? GROUP BY model ORDER BY count(*) DESC, max(n) DESC LIMIT 1"
)
NEWEST = 100  # answers that say which model serves
BATCH = 5000  # lines of a transaction


class Joined:
    """The store at `path`, made when missing.

    keep_days: how long a request waits for truth; keep_mb: the most that the file takes.
    """

    def __init__(self, path: Path, keep_days: float = 90, keep_mb: float = 2000) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.keep_seconds, self.keep_bytes = keep_days * 86400, keep_mb * 1e6
        self.database = sqlite3.connect(path, isolation_level=None, timeout=30)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = NORMAL")
        self.database.executescript(TABLES)

    def read(self, folder: Path) -> int:
        """Take in what the service has logged in `folder` since the last time; gives how many."""
        seen = 0
        for name, add in {"requests": self._requests, "feedback": self._feedback}.items():
            offsets = dict(self.database.execute("SELECT part, offset FROM offsets"))
            for lines in batches(requestlog.follow(folder, name, offsets)):
                with self.database:
                    self.database.execute("BEGIN")
                    add([record for _, _, record in lines])
                    reached = {part: offset for part, offset, _ in lines}
                    self.database.executemany(
                        "INSERT OR REPLACE INTO offsets VALUES (?, ?)", reached.items()
                    )
                seen += len(lines)
        with self.database:
            self.database.execute("BEGIN")
            self._match()
            self._forget()
        return seen

    def add_truths(self, truths: Iterable[tuple[str, Any]]) -> None:
        """Truths by request id from elsewhere than the service, e.g. a file."""
        with self.database:
            self.database.execute("BEGIN")
            self._feedback([{"id": identity, "truth": truth} for identity, truth in truths])
            self._match()

    def window(self, labelled: bool, model: str, after: int, count: int) -> list[tuple[int, Row]]:
        """The next `count` rows of a model after row number `after`; fewer when there are not yet.

        A labelled row has its `truth`.
        """
        found = self.database.execute(KEPT[labelled], (model, after, count)).fetchall()
        rows = [(n, parsed(record), truth) for n, record, truth in found]
        return [(n, row | {"truth": parsed(truth)} if labelled else row) for n, row, truth in rows]

    def models(self, labelled: bool) -> list[str]:
        """Model versions in the order in which they first answered."""
        return [model for (model,) in self.database.execute(MODELS[labelled])]

    def serving(self, since: float = 0.0) -> str | None:
        """The model that serves: the commonest of the newest answers, so no canary; None while
        fewer came `since` it was exchanged, in seconds since 1970."""
        found = self.database.execute(SERVING, (NEWEST, since)).fetchone()
        return found[0] if found and (found[1] == NEWEST or not since) else None

    def newest(self, count: int) -> list[Row]:
        """The newest labelled rows of whatever model, oldest first."""
        query = "SELECT record, truth FROM labels JOIN requests USING (id) "
        found = self.database.execute(query + "ORDER BY labels.n DESC LIMIT ?", (count,))
        rows = [parsed(record) | {"truth": parsed(truth)} for record, truth in found]
        return rows[::-1]

    def answers(self, model: str) -> int:
        query = "SELECT count(*) FROM requests WHERE model = ? "
        query += f"AND {ANSWER}"
        return int(self.database.execute(query, (model,)).fetchone()[0])

    def answered(self, model: str, count: int, newest: bool = False) -> list[Row]:
        """The first answers of a model, or the newest, from there on."""
        query = "SELECT record FROM requests WHERE model = ? "
        query += f"AND {ANSWER} ORDER BY n {'DESC' if newest else ''} LIMIT ?"
        return [parsed(record) for (record,) in self.database.execute(query, (model, count))]

    def unlabelled(self, count: int) -> list[Row]:
        """The newest answers without truth."""
        query = "SELECT record FROM requests WHERE id NOT IN (SELECT id FROM labels) "
        query += f"AND {ANSWER} "
        found = self.database.execute(query + "ORDER BY n DESC LIMIT ?", (count,))
        return [parsed(record) for (record,) in found]

    def counts(self) -> dict[str, int]:
        """How many truths were `joined`, `duplicate`, `unknown`; how many are `waiting`."""
        found = dict(self.database.execute("SELECT name, value FROM counts"))
        (waiting,) = self.database.execute("SELECT count(*) FROM early").fetchone()
        return {"joined": 0, "duplicate": 0, "unknown": 0} | found | {"waiting": waiting}

    def _requests(self, records: list[Row]) -> None:
        now = retention.now()
        rows = [
            (
                record["id"],
                None if {"clock", "route"} & record.keys() else str(record.get("model")),
                now,
                written(record).decode(),
            )
            for record in records
            if isinstance(record.get("id"), str)
        ]
        insert = "INSERT OR IGNORE INTO requests (id, model, stored, record) VALUES (?, ?, ?, ?)"
        self.database.executemany(insert, rows)

    def _feedback(self, records: list[Row]) -> None:
        """The first truth of a request counts; it may come before its request is read."""
        now = retention.now()
        for record in records:
            if not isinstance(record.get("id"), str) or "truth" not in record:
                continue
            identity, truth = record["id"], written(record["truth"]).decode()
            known = self.database.execute("SELECT 1 FROM labels WHERE id = ?", (identity,))
            if known.fetchone():
                self._count("duplicate", 1)
                continue
            insert = "INSERT OR IGNORE INTO early VALUES (?, ?, ?)"
            if not self.database.execute(insert, (identity, now, truth)).rowcount:
                self._count("duplicate", 1)

    def _match(self) -> None:
        """Truths whose request is here become labels, in the order in which they came."""
        query = "INSERT INTO labels (id, model, truth) "
        query += f"SELECT id, iif({ANSWER}, model, NULL), truth "
        query += "FROM early JOIN requests USING (id) ORDER BY early.rowid"
        joined = self.database.execute(query).rowcount
        self.database.execute("DELETE FROM early WHERE id IN (SELECT id FROM labels)")
        self._count("joined", joined)

    def _forget(self) -> None:
        unknown = retention.forget(self.database, self.keep_seconds, self.keep_bytes)
        self._count("unknown", unknown)

    def _count(self, name: str, more: int) -> None:
        self.database.execute(COUNT, (name, more))


def batches(lines: Iterator[Any]) -> Iterator[list[Any]]:
    batch = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
