"""The edge target without a container: a packaged service as an archive, the same from any build.

What the edge image has, with systemd units, a page of commands and SHA256SUMS of every file. Built
twice from one package it has the same bytes: names are sorted, times, owners and modes fixed.
"""

import gzip
import hashlib
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from shared import engine, images

SUMS = "SHA256SUMS"
TEMPLATES = engine.DEPLOY / "edge"


def write(folder: Path, place: Path, named: Mapping[str, Any]) -> Path:
    """Fill the empty `place` with the archive of the blueprint in `folder`; gives its path.

    Beside it lie its hash and what is also in it: the units and README.md, from templates that
    take the values of `named`.
    """
    title = f"{named['name']}-{named['version']}"
    place.mkdir(parents=True)
    for template in sorted(TEMPLATES.iterdir()):
        filled = Template(template.read_text(encoding="utf-8")).substitute(named)
        path = place / template.name.replace("NAME", named["name"])
        path.write_text(filled, encoding="utf-8")
    archive = place / f"{title}.tar.gz"
    with images.context(folder, "edge") as content:
        (content / "logs").rmdir()  # systemd makes it
        for path in list(place.iterdir()):
            shutil.copy2(path, content)
        sums = "".join(f"{digest}  {name}\n" for name, digest in hashes(content).items())
        (content / SUMS).write_text(sums, encoding="utf-8")
        pack(content, archive, title)
    line = f"{sha256(archive)}  {archive.name}\n"
    archive.with_name(f"{archive.name}.sha256").write_text(line, encoding="utf-8")
    return archive


def hashes(folder: Path) -> dict[str, str]:
    """Relative name -> SHA-256 of every file, sorted by name."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files(folder)}


def files(folder: Path) -> list[Path]:
    """All files in `folder`, in an order that no file system decides."""
    return sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(folder: Path, archive: Path, title: str) -> None:
    """All files of `folder` in a tar.gz, under the folder `title`."""
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in files(folder):
            entry = tarfile.TarInfo(f"{title}/{path.relative_to(folder).as_posix()}")
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(entry, content)
