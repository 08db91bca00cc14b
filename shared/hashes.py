"""Hashes of what images install, so that a package that was changed on its way is refused.

    python -m shared.hashes requirements-serve.txt requirements-edge.txt     needs uv

It writes shared/deploy/hashes.txt: the SHA-256 of every file of every version. In this repository
`make lock` does so for all blueprints; in a copied folder, run it when its requirements change.
"""

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from shared import engine, packaging

FILE = engine.DEPLOY / "hashes.txt"
COMPILE = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
COMPILE += ["--generate-hashes", "--no-header", "--no-annotate"]
# An address may hold a secret, and is nobody else's.
COMPILE += ["--no-emit-index-url", "--no-emit-find-links"]


def known(file: Path = FILE) -> dict[str, list[str]]:
    """`name==version` -> `sha256:...` of each of its files."""
    found: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            found[next(reversed(found))].append(line.split("--hash=")[1].rstrip(" \\"))
        elif line and not line.startswith("#"):
            found[line.split()[0]] = []
    return found


def hashed(pins: Iterable[str], file: Path = FILE) -> str:
    """A requirements file of exact versions with their hashes, which makes pip ask for them.

    Raises SystemExit with the names of those that have none.
    """
    hashes, wanted = known(file), list(dict.fromkeys(pins))
    missing = [pin for pin in wanted if pin not in hashes]
    if missing:
        raise SystemExit(
            f"no hash of {', '.join(missing)} in {file.name}; "
            f"run: python -m shared.hashes requirements-serve.txt requirements-edge.txt"
        )
    lines = [" \\\n    --hash=".join([pin, *hashes[pin]]) for pin in wanted]
    return "\n".join(lines) + "\n"


def write(requirements: list[Path], constraints: Path | None = None, file: Path = FILE) -> None:
    """Ask the package index for the hashes of all that the requirements need.

    constraints: exact versions; without it, those that are installed. Raises SystemExit where uv
    fails, with what it says.
    """
    with tempfile.TemporaryDirectory() as folder:
        if constraints is None:
            constraints = Path(folder) / "installed.txt"
            pins = {pin for path in requirements for pin in packaging.pinned(path)}
            constraints.write_text("\n".join(sorted(pins)), encoding="utf-8")
        draft = Path(folder) / "hashes.txt"
        options = ["--constraints", str(constraints), "--output-file", str(draft)]
        command = [*COMPILE, *options, *map(str, requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"uv found no hashes:\n{done.stderr}")
        text = draft.read_text(encoding="utf-8")
    # Markers are of no use here: what is needed is decided before.
    file.write_text(re.sub(r" ; .*?( \\)?$", r"\1", text, flags=re.MULTILINE), encoding="utf-8")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("requirements", type=Path, nargs="+")
    options.add_argument("--constraints", type=Path)
    asked = options.parse_args()
    write(asked.requirements, asked.constraints)
    print(f"{FILE}: {len(known())} packages")


if __name__ == "__main__":
    main()
