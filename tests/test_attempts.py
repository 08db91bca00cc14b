"""What was tried on a device decides what is tried again."""

from pathlib import Path
from typing import Any

import pytest

from shared import attempts, lineage
from shared.audit import Refused
from shared.bundles import Manifest


def made(sequence: int, version: str = "v") -> Manifest:
    files = {"a": {"size": 0, "sha256": f"{sequence:064x}"}}
    about: Any = {"name": "demo", "sequence": sequence, "version": version, "files": files}
    return Manifest.model_validate(about)


def tried(live: Path, manifest: Manifest, *events: str) -> None:
    for event in events:
        attempts.remember(
            live, event, manifest, **({"reason": "slow"} if event == "failed" else {})
        )


def test_the_first_bundle_and_every_newer_one_may_come(tmp_path: Path) -> None:
    attempts.check(made(1), tmp_path, False)
    tried(tmp_path, made(1), "trying", "switching", "installed")
    attempts.check(made(2), tmp_path, False)


def test_only_what_was_switched_to_makes_others_old(tmp_path: Path) -> None:
    tried(tmp_path, made(9), "trying", "failed")
    attempts.check(made(1), tmp_path, False)
    tried(tmp_path, made(9), "trying", "switching")  # and killed before the pointer changed
    with pytest.raises(Refused, match="sequence 1 is not above 9"):
        attempts.check(made(1), tmp_path, False)
    attempts.check(made(1), tmp_path, True)
    attempts.check(made(9), tmp_path, False)
    with pytest.raises(Refused, match="sequence 9 is not above 9"):
        attempts.check(made(9, "other"), tmp_path, False)


def test_tries_count_since_it_was_installed_last(tmp_path: Path) -> None:
    one = made(1)
    tried(tmp_path, one, "trying", "trying", "switching", "installed", "trying", "failed", "trying")
    attempts.check(one, tmp_path, False)
    tried(tmp_path, one, "trying")
    for downgrade in (False, True):
        with pytest.raises(Refused, match="v was tried 3 times and is given up: slow"):
            attempts.check(one, tmp_path, downgrade)
    attempts.check(made(2), tmp_path, False)


def test_what_was_rolled_back_comes_only_when_asked_for(tmp_path: Path) -> None:
    one = made(1)
    (tmp_path / "models" / one.folder).mkdir(parents=True)
    lineage.flip(tmp_path, one.folder, event="promoted", version=one.folder)
    lineage.flip(tmp_path, "old", event="rolled_back", version=one.folder, to="old")
    with pytest.raises(Refused, match="v was rolled back before"):
        attempts.check(one, tmp_path, False)
    attempts.check(one, tmp_path, True)


def test_what_is_refused_is_remembered_once_in_a_row_and_is_no_obstacle(tmp_path: Path) -> None:
    def offered(bundle: str) -> None:
        with pytest.raises(Refused, match="not signed"), attempts.refusing(Path(bundle), tmp_path):
            raise Refused("not signed")

    for bundle in ("a", "a", "b", "a"):
        offered(bundle)
    assert [one["bundle"] for one in attempts.remembered(tmp_path)] == ["a", "b", "a"]
    tried(tmp_path, made(2), "trying", "switching", "installed")
    offered("a")
    attempts.check(made(3), tmp_path, False)
    with pytest.raises(Refused, match="sequence 1 is not above 2"):
        attempts.check(made(1), tmp_path, False)


def test_a_line_that_a_power_cut_tore_is_no_obstacle(tmp_path: Path) -> None:
    tried(tmp_path, made(1), "trying", "switching")
    path = tmp_path / "updates.jsonl"
    path.write_bytes(path.read_bytes() + b'{"event": "tryi')
    tried(tmp_path, made(2), "trying")
    assert [one["event"] for one in attempts.remembered(tmp_path)] == [
        "trying",
        "switching",
        "trying",
    ]
