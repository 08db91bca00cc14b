"""Backup and restore of what a standalone stack keeps, in its deployed files' folder.

    python -m shared.volumes backup FILE      pauses all but the service; one .tar.gz
    python -m shared.volumes restore FILE     into a stack that is down; what it held is lost

In a container, with each volume below /volumes, `pack` writes the archive to standard output and
`unpack` reads it: what a volume held stays until all of the archive has arrived.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import sys
import tarfile
import time
import zlib
from pathlib import Path
from typing import IO

from shared import compose, params

ROOT, MANIFEST, DRAFT = Path("/volumes"), "backup.json", ".arriving"
END = "backup.end"  # the last entry: a stream that ends between two would pass for a whole one
PAUSED = ("worker", "monitor", "mlflow", "prometheus", "alertmanager", "grafana")
DEPLOYED = Path("dist/deploy/standalone")


def pack(root: Path, name: str, output: IO[bytes]) -> None:
    """All volumes below `root`, with owners, as .tar.gz that says first what it is of.

    A file that is removed meanwhile, as parts of the log are, is left out.
    """
    volumes = sorted(path.name for path in root.iterdir())
    told = json.dumps({"name": name, "volumes": volumes, "time": time.time()}).encode()
    squeezed = gzip.GzipFile(fileobj=output, mode="wb", compresslevel=1)
    with squeezed, tarfile.open(fileobj=squeezed, mode="w|") as archive:
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(told)
        archive.addfile(entry, io.BytesIO(told))
        for volume in volumes:
            for path in [root / volume, *sorted((root / volume).rglob("*"))]:
                within = path.relative_to(root)
                if DRAFT not in within.parts[1:2]:  # of a restore that was killed
                    with contextlib.suppress(FileNotFoundError):
                        _add(archive, path, str(within))
        archive.addfile(tarfile.TarInfo(END))


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as content:  # is there to the end, whoever removes it
            archive.addfile(archive.gettarinfo(arcname=name, fileobj=content), content)
    elif entry := archive.gettarinfo(path, name):  # nothing for a socket
        archive.addfile(entry)


def unpack(root: Path, name: str, source: IO[bytes]) -> None:
    """Volumes below `root` hold what the archive has, and nothing else.

    Raises SystemExit, and leaves all as it was, for anything but a whole backup of `name`.
    """
    here = sorted(path.name for path in root.iterdir())
    drafts = {volume: root / volume / DRAFT for volume in here}
    clear(drafts)
    try:
        squeezed = gzip.GzipFile(fileobj=source)
        with squeezed, tarfile.open(fileobj=squeezed, mode="r|") as archive:
            first = archive.next()
            read = archive.extractfile(first) if first and first.name == MANIFEST else None
            told = json.loads(read.read()) if read else {}
            if told.get("name") != name or told.get("volumes") != here:
                found = f"of {told.get('name')}, volumes {told.get('volumes')}"
                raise SystemExit(f"restore: it is {found}; wanted: of {name}, volumes {here}")
            for entry in archive:
                if entry.name not in (MANIFEST, END):
                    _extract(archive, entry, drafts)
            if entry.name != END or not all(draft.is_dir() for draft in drafts.values()):
                raise tarfile.TarError("it ends early")
            while squeezed.read(1 << 20):  # to its checksum
                pass
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, zlib.error) as error:
        clear(drafts)
        raise SystemExit(f"restore: no whole backup: {error}") from None
    except BaseException:
        clear(drafts)
        raise
    for volume in here:
        replace(root / volume)


def _extract(archive: tarfile.TarFile, entry: tarfile.TarInfo, drafts: dict[str, Path]) -> None:
    """Owners and modes as they were. Raises TarError for what would lie beside its volume."""
    volume, _, rest = entry.name.partition("/")
    entry.name, draft = rest or ".", drafts[volume]
    if entry.islnk():  # a hard link names another entry
        entry.linkname = entry.linkname.partition("/")[2]
    for name in (entry.name, entry.linkname if entry.islnk() else ""):
        if not (draft / name).resolve().is_relative_to(draft.resolve()):
            raise tarfile.TarError(f"{volume}/{name} leads out")
    draft.mkdir(exist_ok=True)
    # Checked above, since Debian's Python 3.11.2 has no filters.
    archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
    archive.extract(entry, draft, numeric_owner=True)


def clear(drafts: dict[str, Path]) -> None:
    for draft in drafts.values():
        shutil.rmtree(draft, ignore_errors=True)


def replace(volume: Path) -> None:
    """What is in its draft takes the place of all else."""
    draft = volume / DRAFT
    for path in volume.iterdir():
        if path.is_dir() and not path.is_symlink() and path != draft:
            shutil.rmtree(path)
        elif path != draft:
            path.unlink()
    for path in draft.iterdir():
        path.rename(volume / path.name)
    shutil.copystat(draft, volume)
    owner = draft.stat()
    draft.rmdir()
    os.chown(volume, owner.st_uid, owner.st_gid)


def backup(stack: compose.Stack, file: Path) -> None:
    """Raises SystemExit where the stack's volumes cannot be read; an older `file` then stays.

    A stack that a killed backup has left paused goes on after the next.
    """
    still = {*stack.states("Paused"), *stack.states("Restarting")}  # the engine pauses neither
    moving = [name for name in PAUSED if name in stack.states("Running") and name not in still]
    try:
        if moving:
            stack.run("pause", *moving)
        with params.atomic(file) as draft:
            draft.touch(mode=0o600)  # all that others may not read in the volumes is in it
            with draft.open("wb") as output:
                stack.run("run", "--rm", "-T", "backup", stdout=output)
    finally:
        if paused := stack.states("Paused"):
            stack.run("unpause", *paused)
    print(f"backup: {file}, {file.stat().st_size / 1e6:.1f} MB")


def restore(stack: compose.Stack, file: Path) -> None:
    """Raises SystemExit while the stack runs, and for what is no whole backup of it."""
    if running := stack.states("Running"):
        raise SystemExit(
            f"restore: {', '.join(running)} still run; stop them: {stack.command} down"
        )
    with file.open("rb") as source:
        stack.run("run", "--rm", "-T", "restore", stdin=source)
    print(f"restore: {file}; start it: {stack.command} up -d")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["backup", "restore", "pack", "unpack"])
    parser.add_argument("file", nargs="?", type=Path, help="of backup and restore")
    parser.add_argument("--folder", type=Path, default=DEPLOYED, help="has compose.yaml and .env")
    parser.add_argument("--name", help="of pack and unpack: whose volumes they are")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is paused goes on
    if asked.command == "pack":
        pack(ROOT, asked.name, sys.stdout.buffer)
    elif asked.command == "unpack":
        unpack(ROOT, asked.name, sys.stdin.buffer)
    elif asked.file is None:
        raise SystemExit(f"{asked.command}: name the file, e.g. FILE=cv.tar.gz")
    elif asked.command == "restore" and not asked.file.is_file():
        raise SystemExit(f"restore: there is no file {asked.file}")
    else:
        {"backup": backup, "restore": restore}[asked.command](
            compose.Stack(asked.folder), asked.file
        )


if __name__ == "__main__":
    main()
