"""The monitor's store within its time and its size; a clock that is not to be believed."""

from pathlib import Path

import pytest

from shared import retention
from shared.joining import Joined
from shared.requestlog import RequestLog


def log(folder: Path, names: range, **record: str) -> None:
    requests, feedback = (RequestLog(folder, name, 100, 9) for name in ("requests", "feedback"))
    for name in names:
        assert requests.write({"id": f"{name:06d}", "model": "m", **record})
        assert feedback.write({"id": f"{name:06d}", "truth": name})


def test_a_store_that_is_too_large_forgets_the_oldest_with_their_truths(tmp_path: Path) -> None:
    store = Joined(tmp_path / "monitor.db", keep_mb=2)
    for part in range(10):
        log(tmp_path / "logs", range(100 * part, 100 * part + 100), image="x" * 10_000)
        store.read(tmp_path / "logs")
        assert retention.size(store.database) <= 2e6
    assert (tmp_path / "monitor.db").stat().st_size < 4e6
    left = store.window(True, "m", 0, 2000)
    assert 100 < len(left) < 250 and left[-1][1]["truth"] == 999
    (labels,) = store.database.execute("SELECT count(*) FROM labels").fetchone()
    assert labels == len(left)


def test_what_came_while_the_clock_was_wrong_is_dated_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Joined(tmp_path / "monitor.db")
    with monkeypatch.context() as wrong:
        wrong.setattr(retention.time, "time", lambda: 5.0)
        assert retention.now() is None
        store.database.execute(
            "INSERT INTO requests (id, model, stored, record) VALUES ('a', 'm', NULL, '{}')"
        )
        assert retention.forget(store.database, 60, 1e9) == 0
    assert retention.forget(store.database, 60, 1e9) == 0
    (stored,) = store.database.execute("SELECT stored FROM requests").fetchone()
    assert stored > 1.7e9
