"""What was not sent yet is known after any restart; what the log dropped unsent is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.outbox import BATCH_BYTES, BATCH_RECORDS, Outbox
from shared.requestlog import RequestLog


def log(folder: Path, numbers: range, name: str = "requests", max_mb: float = 10) -> None:
    """What one run of a service writes."""
    one = RequestLog(folder, name, max_mb, 30)
    assert all(one.write({"n": number}) for number in numbers)


def sent(outbox: Outbox) -> list[dict[str, Any]]:
    """All that is waiting, sent."""
    found: list[dict[str, Any]] = []
    while True:
        outbox.look()
        body, last = outbox.batch()
        if not last:
            return found
        found += json.loads(body)["records"]
        outbox.delivered(last)


def released(outbox: Outbox) -> None:
    """As the end of its process would."""
    outbox.lock.close()


def test_records_come_once_oldest_first_with_ids_of_their_own(tmp_path: Path) -> None:
    log(tmp_path, range(700))
    log(tmp_path, range(700, 1200))  # the service was restarted
    outbox = Outbox(tmp_path, "pump-7")
    found = sent(outbox)
    assert [one["record"]["n"] for one in found] == list(range(1200))
    assert len({one["id"] for one in found}) == 1200
    assert all(one["id"].startswith("pump-7/requests-") for one in found)
    assert sent(outbox) == [] and outbox.state.sent == 1200 and outbox.state.lost == 0


def test_both_logs_are_merged_by_time(tmp_path: Path) -> None:
    for number in range(4):
        log(tmp_path, range(number, number + 1), name=("requests", "feedback")[number % 2])
    found = sent(Outbox(tmp_path, "d"))
    assert sorted(one["record"]["n"] for one in found) == [0, 1, 2, 3]
    times = [one["record"]["time"] for one in found]
    assert times == sorted(times) and {one["log"] for one in found} == {"requests", "feedback"}


def test_a_restart_goes_on_behind_what_was_delivered(tmp_path: Path) -> None:
    log(tmp_path, range(1000))
    outbox = Outbox(tmp_path, "d")
    outbox.look()
    outbox.delivered(outbox.batch()[1])
    lost_answer = json.loads(outbox.batch()[0])["records"]
    released(outbox)
    again = sent(Outbox(tmp_path, "d"))
    assert [one["record"]["n"] for one in again] == list(range(BATCH_RECORDS, 1000))
    assert again[: len(lost_answer)] == lost_answer, "the same ids, so doubles can be dropped"


def test_a_batch_is_bounded_and_a_large_record_goes_alone(tmp_path: Path) -> None:
    one = RequestLog(tmp_path, "requests", 10, 30)
    for size in (BATCH_BYTES // 3, BATCH_BYTES // 3, BATCH_BYTES // 3, 2 * BATCH_BYTES, 1):
        one.write({"n": 1, "text": "x" * size})
    outbox, sizes = Outbox(tmp_path, "d"), []
    while (batch := outbox.batch())[1]:
        sizes.append(sum(count for _, count in batch[1].values()))
        outbox.delivered(batch[1])
    assert sizes == [2, 1, 1, 1]


def test_the_logs_limit_holds_and_what_it_drops_unsent_is_counted(tmp_path: Path) -> None:
    max_mb, outbox = 0.04, Outbox(tmp_path, "d")
    one = RequestLog(tmp_path, "requests", max_mb, 30)
    for number in range(5000):
        assert one.write({"n": number})
        if number % 50 == 0:
            outbox.look()
            taken = sum(path.stat().st_size for path in tmp_path.glob("*.jsonl"))
            assert taken <= max_mb * 1e6
    found = sent(outbox)
    assert outbox.state.lost == 5000 - len(found) > 1000
    numbers = [one["record"]["n"] for one in found]
    assert numbers == list(range(numbers[0], 5000)), "the newest are kept, without a gap"
    assert json.loads(outbox.batch()[0])["lost"] == outbox.state.lost
    assert outbox.path.stat().st_size < 2000, "parts that are gone are forgotten"


def test_what_was_sent_before_it_was_dropped_is_not_lost(tmp_path: Path) -> None:
    outbox, one = Outbox(tmp_path, "d"), RequestLog(tmp_path, "requests", 0.04, 30)
    count = 0
    for number in range(5000):
        one.write({"n": number})
        if number % 50 == 0:
            count += len(sent(outbox))
    assert count + len(sent(outbox)) == 5000 and outbox.state.lost == 0


def test_an_unreadable_state_sends_all_again_and_says_so(tmp_path: Path) -> None:
    log(tmp_path, range(3))
    outbox = Outbox(tmp_path, "d")
    first = sent(outbox)
    released(outbox)
    for torn in (b"", b"{", b'{"parts": 1}', b"\xff"):
        outbox.path.write_bytes(torn)
        outbox = Outbox(tmp_path, "d")
        assert outbox.unreadable and sent(outbox) == first
        released(outbox)
    assert not Outbox(tmp_path, "d").unreadable


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d")
    with pytest.raises(SystemExit, match="another process forwards it already"):
        Outbox(tmp_path, "d")
    released(outbox)
    Outbox(tmp_path, "d")


def test_a_state_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / ".forwarded.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        Outbox(tmp_path, "d")
