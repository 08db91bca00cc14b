"""What the monitor's store forgets: what has waited too long, and the oldest where it is too large.

What came while the clock was not to be believed is dated when it is again.
"""

import sqlite3
import time

from shared import clocks

# The last of the oldest twentieth
OLDEST = "SELECT min(n) + (max(n) - min(n)) / 20 FROM requests"


def now() -> float | None:
    """Seconds since 1970; None while the clock is not to be believed."""
    found = time.time()
    return found if clocks.believable(found) else None


def forget(database: sqlite3.Connection, keep_seconds: float, keep_bytes: float) -> int:
    """Drop requests, with their truths, and truths without a request; gives how many of these."""
    unknown = gone = 0
    if (moment := now()) is not None:
        database.execute("UPDATE early SET stored = ? WHERE stored IS NULL", (moment,))
        database.execute("UPDATE requests SET stored = ? WHERE stored IS NULL", (moment,))
        limit = (moment - keep_seconds,)
        unknown = database.execute("DELETE FROM early WHERE stored < ?", limit).rowcount
        gone = database.execute("DELETE FROM requests WHERE stored < ?", limit).rowcount
    while size(database) > keep_bytes:
        oldest = database.execute(OLDEST).fetchone()
        if not (dropped := database.execute("DELETE FROM requests WHERE n <= ?", oldest).rowcount):
            break
        gone += dropped
    if gone:
        database.execute("DELETE FROM labels WHERE id NOT IN (SELECT id FROM requests)")
    return unknown


def size(database: sqlite3.Connection) -> int:
    """Bytes of the store, without what is free in its file."""
    pages, free, each = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * each)
