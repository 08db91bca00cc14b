"""Is a deployed model still what was put in place? Its folder has the SHA-256 of every file."""

import hashlib
from pathlib import Path

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it
CHANGING = ".db"  # an online store takes new values while its model is served


def seal(folder: Path) -> None:
    """Note the hashes of all files of a model that is complete."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    names = [path.relative_to(folder).as_posix() for path in paths if path.suffix != CHANGING]
    lines = "".join(f"{_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(lines, encoding="utf-8")


def damaged(folder: Path) -> list[str]:
    """Names of files that are gone or changed since `seal`; none where nothing was sealed."""
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
        noted = dict(line.split("  ", 1)[::-1] for line in text.splitlines())
    except FileNotFoundError:  # put in place by an earlier release
        return []
    except (OSError, ValueError):
        return [SUMS]
    return [name for name in noted if _sha256(folder / name) != noted[name]] if noted else [SUMS]


def _sha256(path: Path) -> str:
    """Empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
