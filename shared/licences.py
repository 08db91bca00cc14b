"""The licences of what images ship, from the packages' own metadata, held to a list.

    python -m shared.licences write docs/licences.md blueprints/*
    python -m shared.licences check .       in a blueprint's folder; 1 if one is not allowed

Allowed is what may be shipped beside closed source without publishing that source. Debian's
packages, GPL among them, are programs of their own: the list of an image has them (shared.sbom).
"""

import argparse
import functools
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared import packaging

# With MPL only changes to the package itself are to be published.
ALLOWED = {"0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear"}
ALLOWED |= {"CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"}
# What older metadata say -> SPDX; "BSD" does not say which.
NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
UNKNOWN = "unknown"
HEAD = """# Licences of what images ship

Python packages of the images `cloud` and `edge`, by `make licences`; `python -m shared.licences
check` refuses what is not on the list in `shared/licences.py`. Debian's packages are in the list
of an image, by `make sbom`. The worker of `standalone` also has what `requirements.txt` needs,
torch's build for CUDA with NVIDIA's own licences among it: it is not held to this list, to hashes
or to `make vulnerabilities`. Look through its list, `make sbom TARGET=standalone`, before you
pass that image on. The code is Apache-2.0; a model has the licence of its data, stated in each
README.

| package | version | licence | in |
|---|---|---|---|
"""


def licence(name: str) -> str:
    """A package's licence, in SPDX's words where its metadata, installed here, allow."""
    try:
        metadata = importlib.metadata.metadata(name).json
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
    if expression := metadata.get("license_expression"):
        return str(expression)
    lines = str(metadata.get("license", "")).strip().splitlines()
    classifiers = [line for line in metadata.get("classifier", []) if "License ::" in line]
    kinds = [line.rpartition(" :: ")[2] for line in classifiers]
    # Some put the whole text into the field.
    found = lines[:1] if len(lines) == 1 else kinds
    return " AND ".join(NAMES.get(kind, kind) for kind in found) or UNKNOWN


def allowed(expression: str) -> bool:
    """May it be shipped? Of alternatives one is enough, of parts all are needed."""
    from license_expression import ExpressionError

    spdx = _spdx()
    try:
        parsed = spdx.parse(expression)
    except ExpressionError:
        return False
    values = {
        symbol: spdx.TRUE if str(symbol) in ALLOWED else spdx.FALSE for symbol in parsed.symbols
    }
    return bool(parsed.subs(values, simplify=True) == spdx.TRUE)


@functools.cache
def _spdx() -> Any:
    """The algebra of licences; reading all of SPDX's names takes a tenth of a second."""
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def shipped(folders: Iterable[Path]) -> dict[str, set[str]]:
    """`name==version` -> the targets whose images have it."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for target, name in {"cloud": "serve", "edge": "edge"}.items():
            for pin in packaging.pinned(folder / f"requirements-{name}.txt"):
                found.setdefault(pin, set()).add(target)
    return found


def check(folders: Iterable[Path]) -> int:
    """The number of packages, all allowed. Raises SystemExit with those that are not."""
    pins = shipped(folders)
    found = {pin: licence(pin.split("==")[0]) for pin in sorted(pins)}
    refused = [f"{pin} ({text})" for pin, text in found.items() if not allowed(text)]
    if refused:
        raise SystemExit(f"licences to be looked at, see shared/licences.py: {', '.join(refused)}")
    return len(pins)


def table(folders: Iterable[Path]) -> str:
    """The page of all packages."""
    rows = []
    for pin, targets in sorted(shipped(folders).items()):
        name, version = pin.split("==")
        rows.append(f"| {name} | {version} | {licence(name)} | {', '.join(sorted(targets))} |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("command", choices=["write", "check"])
    options.add_argument("paths", type=Path, nargs="+", help="write: the page first; then folders")
    asked = options.parse_args()
    page, folders = (
        (asked.paths[:1], asked.paths[1:]) if asked.command == "write" else ([], asked.paths)
    )
    print(f"licences: {check(folders)} packages, all allowed")
    for path in page:
        path.write_text(table(folders), encoding="utf-8")


if __name__ == "__main__":
    main()
