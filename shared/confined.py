"""A service's container is locked up: by how it is run, and by what its image lets its user do.

In a read-only container nothing can be written, whatever the image is like. So the files' owners
and modes are looked at, and the log, which has the writes that failed.
"""

import json
import stat
from collections.abc import Collection, Iterable
from typing import NamedTuple

from shared import container, engine
from shared.container import Container, expect

TOOLS = ("cc", "gcc", "make", "git")
FAILED = "Read-only file system"  # EROFS, as Python and C say it
SHOWN = 5
# Path, owner, group and mode of all files on the file system of a folder, and of none mounted there
FILES = """
import json, os, sys
root = sys.argv[1]
device, found = os.lstat(root).st_dev, []
for place, folders, names in os.walk(root):
    if not os.access(place, os.X_OK):  # nothing but the names in it can be read
        folders.clear(), names.clear()
    folders[:] = [one for one in folders if os.lstat(os.path.join(place, one)).st_dev == device]
    for path in [place, *(os.path.join(place, name) for name in names)]:
        status = os.lstat(path)
        found.append([path, status.st_uid, status.st_gid, status.st_mode])
print(json.dumps(found))
"""


class File(NamedTuple):
    """What says who may write to a file or folder."""

    path: str
    owner: int
    group: int
    mode: int


def locked(service: Container) -> None:
    """It is not root, can write to nothing of its image, and has nothing to build with."""
    user, *groups = container.inside(service, "[os.getuid(), os.getgid(), *os.getgroups()]")
    expect(user != 0, "the container runs as root")
    read_only = container.inside(service, "bool(os.statvfs('/').f_flag & os.ST_RDONLY)")
    expect(read_only, "the root file system is not read-only")
    found = writable(files(service.identity), user, groups)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    expect(not found, f"the image lets user {user} write to {', '.join(found[:SHOWN])}{more}")
    tools = container.inside(service, f"[n for n in {TOOLS!r} if shutil.which(n)]")
    expect(not tools, f"the image has tools to build with: {tools}")
    expect(container.healthy(service), "its own health check fails")


def files(identity: str) -> list[File]:
    """All files of a container's root file system that its user can see."""
    told = engine.docker("exec", identity, "python3", "-c", FILES, "/")
    return [File(*one) for one in json.loads(told)]


def writable(found: Iterable[File], user: int, groups: Collection[int]) -> list[str]:
    """The paths that the user may write to, or may make writable as their owner.

    Without folders for everybody's temporary files, such as /var/tmp.
    """

    def may(file: File) -> bool:
        if stat.S_ISLNK(file.mode):
            return False
        temporary = stat.S_ISDIR(file.mode) and file.mode & stat.S_ISVTX
        by_group = file.group in groups and file.mode & stat.S_IWGRP
        others = (by_group or file.mode & stat.S_IWOTH) and not temporary
        return bool(file.owner == user or others)

    return [file.path for file in found if may(file)]


def tried_to_write(log: str) -> list[str]:
    """The lines of a log that tell of a write to a read-only file system."""
    return [line for line in log.splitlines() if FAILED in line]


def untouched(service: Container) -> None:
    """What it has done so far needed no write to its root file system."""
    lines = tried_to_write(container.log(service.identity))
    expect(not lines, f"it tried to write to its root file system: {lines[:1]}")
