"""Which blueprints a change touches, as outputs of a workflow step; needs Python only.

SINCE=origin/main python3 .ci/changed.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What only people read, and what only other workflows run.
QUIET = (".devcontainer/", ".vscode/", "docs/", ".github/ISSUE_TEMPLATE/")
QUIET_FILES = {"LICENSE", "renovate.json", ".pre-commit-config.yaml", ".gitignore"}


def blueprints() -> list[str]:
    return sorted(path.name for path in (ROOT / "blueprints").iterdir() if path.is_dir())


def paths(since: str) -> list[str] | None:
    """What differs from where the branch left `since`; None where that commit is not known."""
    command = ["git", "diff", "--name-only", f"{since}...HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.splitlines()


def touched(changed: list[str] | None) -> list[str]:
    """The blueprints whose results may differ: all, if what they share was changed."""
    names, found = blueprints(), set()
    for path in names if changed is None else changed:
        folder, _, rest = path.partition("/")
        quiet = path.startswith(QUIET) or path in QUIET_FILES or path.endswith(".md")
        if quiet and folder != "blueprints":
            continue
        own = rest.partition("/")[0]
        if folder not in ("blueprints", "tests") or own not in names:
            return names
        found.add(own)
    return sorted(found)


def main() -> None:
    since = os.environ.get("SINCE", "")
    changed = paths(since) if since.strip("0") else None
    found = touched(changed)
    print(f"blueprints={json.dumps(found)}")
    print(f"everything={json.dumps(found == blueprints())}")
    print(f"changed: {'not known' if changed is None else len(changed)}", file=sys.stderr)


if __name__ == "__main__":
    main()
