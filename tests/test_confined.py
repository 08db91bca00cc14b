"""What the smoke test finds when an image lets its service write, without an image."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared import confined, container
from shared.confined import File
from shared.container import Container

USER, GROUPS = 1034, [1034]
FOLDER, PLAIN, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK
SAFE = [
    File("/", 0, 0, FOLDER | 0o755),
    File("/service/service.py", 0, 0, PLAIN | 0o644),
    File("/service/export/model.onnx", 1000, 1000, PLAIN | 0o664),
    File("/usr/bin/python3", 0, 0, LINK | 0o777),
    File("/var/tmp", 0, 0, FOLDER | 0o1777),
    File("/usr/sbin/unix_chkpwd", 0, 42, PLAIN | 0o2755),
]
UNSAFE = [
    File("/service/owned.py", USER, 0, PLAIN | 0o644),
    File("/service/owned-without-the-bit.py", USER, 0, PLAIN | 0o444),
    File("/service", USER, USER, FOLDER | 0o755),
    File("/service/of-its-group.py", 0, 1034, PLAIN | 0o664),
    File("/service/of-all.py", 0, 0, PLAIN | 0o666),
    File("/service/of-all", 0, 0, FOLDER | 0o777),
    File("/service/not-a-folder", 0, 0, PLAIN | 0o1666),
]


def test_what_others_own_and_may_only_be_read_is_safe() -> None:
    assert confined.writable(SAFE, USER, GROUPS) == []
    assert confined.writable(SAFE, USER, [0]) == [], "the group of who has none of its own"


@pytest.mark.parametrize("file", UNSAFE, ids=lambda file: file.path)
def test_what_the_user_may_write_to_is_named(file: File) -> None:
    assert confined.writable([*SAFE, file], USER, GROUPS) == [file.path]


def test_all_files_of_a_file_system_are_listed_and_nothing_mounted(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(0o750)
    (tmp_path / "folder/file").touch(0o640)
    (tmp_path / "link").symlink_to("/proc")
    command = [sys.executable, "-c", confined.FILES, str(tmp_path)]
    found = [File(*one) for one in json.loads(subprocess.check_output(command))]
    assert {file.path for file in found if stat.S_ISREG(file.mode)} == {f"{tmp_path}/folder/file"}
    folders = [tmp_path, tmp_path / "folder"]
    assert {file.path for file in found if stat.S_ISDIR(file.mode)} == set(map(str, folders))
    assert {(file.owner, file.group) for file in found} == {(os.getuid(), os.getgid())}
    assert {file.path for file in found if not stat.S_ISLNK(file.mode)} == set(
        confined.writable(found, os.getuid(), [])
    )


@pytest.mark.parametrize(
    ("answers", "listed", "reason"),
    [
        ([[0, 0]], SAFE, "runs as root"),
        ([[1034, 1034], False], SAFE, "the root file system is not read-only"),
        ([[1034, 1034], True], [*SAFE, *UNSAFE], "user 1034 write to /service/owned.py, .* 2 more"),
        ([[1034, 1034], True, ["gcc"]], SAFE, "tools to build with: .'gcc'"),
    ],
)
def test_a_container_that_is_not_locked_up_is_refused(
    answers: list[object], listed: list[File], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter(answers)
    monkeypatch.setattr(container, "inside", lambda *_: next(given))
    monkeypatch.setattr(confined, "files", lambda _: listed)
    with pytest.raises(SystemExit, match=f"smoke: .*{reason}"):
        confined.locked(Container("c", "http://127.0.0.1:9", "t", 0))


def test_a_write_that_failed_is_found_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    log = '{"time": 1, "status": 200}\nOSError: [Errno 30] Read-only file system: \'/service/x\'\n'
    service = Container("c", "http://127.0.0.1:9", "t", 0)
    monkeypatch.setattr(container, "log", lambda _: log.splitlines()[0])
    confined.untouched(service)
    monkeypatch.setattr(container, "log", lambda _: log)
    with pytest.raises(SystemExit, match=r"write to its root file system: .*/service/x"):
        confined.untouched(service)


def test_the_words_of_a_failed_write_are_those_of_the_system() -> None:
    assert os.strerror(30) == confined.FAILED
