"""The section of a version in CHANGELOG.md, as notes of its release.

python3 .ci/notes.py v0.2.0
"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"


def section(text: str, tag: str) -> str:
    """What lies between the title of a version and the next. Raises SystemExit without it."""
    version = tag.removeprefix("v")
    title = re.compile(rf"^## \[?{re.escape(version)}\]?( .*)?$", re.MULTILINE)
    found = title.search(text)
    notes = re.split(r"^## ", text[found.end() :], flags=re.MULTILINE)[0] if found else ""
    if not notes.strip():
        raise SystemExit(f"CHANGELOG.md has no section `## {version}`; write it, then tag again")
    return notes.strip() + "\n"


if __name__ == "__main__":
    print(section(CHANGELOG.read_text(encoding="utf-8"), sys.argv[1]), end="")
