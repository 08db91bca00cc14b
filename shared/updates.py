"""A model brought to a device: signed, tried out there, exchanged in one step, taken back if bad.

    python -m shared.updates sign BUNDLE --key KEY.pem --sequence 7    in a blueprint's folder
    python -m shared.updates fetch URL BUNDLE                          over a network that breaks
    python -m shared.updates install BUNDLE --key KEY.pub --live LIVE  in the folder of service.py
    python -m shared.updates status|rollback --live LIVE

A kill at any moment leaves the model before or the new one in service; `install` again goes on.
No clock is asked: what is newer is said by the sequence. LIVE/updates.jsonl remembers.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared import (
    attempts,
    audit,
    bundles,
    fetching,
    lineage,
    params,
    provenance,
    saying,
    selftest,
    unpacking,
)
from shared.audit import Refused
from shared.bundles import Manifest

SECONDS = 60  # of a self-test, and until a service says that it serves the new model


def install(
    bundle: Path,
    live: Path,
    keys: Sequence[Path],
    service: Path = Path(),
    allow_downgrade: bool = False,
    url: str | None = None,
) -> str:
    """Serve the model of a bundle from now on; gives its version.

    url: of the running service, which must then say within SECONDS that it serves it.
    Raises Refused with the reason; the model before then serves on, or again.
    """
    with lineage.alone(live):
        attempts.begin("checking")
        lineage.settle(live)
        lineage.prune(live)  # what a kill left may be all the space there is
        _check_space(bundle, live)
        with attempts.refusing(bundle, live):
            manifest = bundles.read(bundle, keys)
            name = provenance.packaged(service)["name"]
            if manifest.name != name:
                raise Refused(f"the bundle is for {manifest.name}, this is {name}")
            if new := lineage.current(live) != manifest.folder:
                attempts.check(manifest, live, allow_downgrade)
        if new:
            _prepare(bundle, manifest, live, keys, service)
            _switch(manifest, live)
        elif not bundles.intact(lineage.serving(live)):
            _repair(bundle, manifest, live, keys)
        _confirm(manifest, live, url)
        lineage.prune(live)
    return manifest.version


def rollback(live: Path) -> str:
    """Serve the model before the present one again; gives its folder's name.

    Its bundle, and older ones, are from then on refused without allow_downgrade. Raises Refused
    where the model before is not there, or damaged; the present one then serves on.
    """
    with lineage.alone(live):
        lineage.settle(live)
        return lineage.take_back(live)[1]


def status(live: Path) -> dict[str, Any]:
    """What is served, what a rollback would serve, the highest sequence, what was done last."""
    served, done = lineage.current(live), attempts.remembered(live)
    highest = max((one.get("sequence", 0) for one in done), default=0)
    known = {"serves": served, "before": lineage.before(live), "sequence": highest}
    return known | {"last": done[-1] if done else None}


def _check_space(bundle: Path, live: Path) -> None:
    needed, free = 2 * bundle.stat().st_size, shutil.disk_usage(live).free
    if free < needed:
        raise Refused(f"{needed / 1e6:.1f} MB of disk are needed, {free / 1e6:.1f} MB are free")


def _prepare(
    bundle: Path, manifest: Manifest, live: Path, keys: Sequence[Path], service: Path
) -> None:
    """Unpack the model beside the others and try it out."""
    attempts.remember(live, "trying", manifest)
    place = unpacking.unpack(bundle, manifest, live, keys)
    attempts.begin("self-test")
    memory_mb = params.read_json(place / selftest.GOLDEN)["memory_mb"]
    # The packaged model lies in memory beside it.
    limit = memory_mb and 2 * memory_mb
    try:
        selftest.run("check", service, place, SECONDS, limit)
    except Refused as refused:
        attempts.remember(live, "failed", manifest, reason=str(refused))
        raise
    if lineage.current(live) is None:  # what was served until now is what a rollback serves
        name = unpacking.packaged(service, live).name
        lineage.flip(live, name, event="promoted", version=name)


def _repair(bundle: Path, manifest: Manifest, live: Path, keys: Sequence[Path]) -> None:
    """Unpack the served model anew; it was tried out when it came."""
    attempts.remember(live, "repairing", manifest)
    unpacking.unpack(bundle, manifest, live, keys)
    (live / "current").touch()  # a service that had refused what was broken looks again


def _switch(manifest: Manifest, live: Path) -> None:
    """Remembered before it happens: no older bundle comes in once this one may be served."""
    attempts.remember(live, "switching", manifest)
    lineage.flip(live, manifest.folder, event="promoted", version=manifest.folder)


def _confirm(manifest: Manifest, live: Path, url: str | None) -> None:
    attempts.begin("confirming")
    if url and not saying.served(url, manifest.version, SECONDS):
        reason = f"the service does not serve it within {SECONDS} s but {saying.says(url)}"
        try:
            lineage.take_back(live)
        except Refused as refused:
            reason += f"; {str(refused).removeprefix('refused: ')}"
        attempts.remember(live, "failed", manifest, reason=reason)
        raise Refused(reason)
    attempts.remember(live, "installed", manifest)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    signs, installing = commands.add_parser("sign"), commands.add_parser("install")
    for one in (signs, installing):
        one.add_argument("bundle", type=Path)
    fetches = commands.add_parser("fetch")
    fetches.add_argument("url")
    fetches.add_argument("bundle", type=Path)
    signs.add_argument("--key", type=Path, required=True, help="private, Ed25519 in PEM")
    signs.add_argument("--sequence", type=int, required=True, help="higher is newer")
    signs.add_argument("--model", type=Path, default=Path("build/export"))
    installing.add_argument("--key", type=Path, action="append", required=True, help="public")
    installing.add_argument("--allow-downgrade", action="store_true")
    installing.add_argument("--url", help="of the service: it must say that it serves the model")
    for one in (installing, commands.add_parser("status"), commands.add_parser("rollback")):
        one.add_argument("--live", type=Path, required=True)
    asked = parser.parse_args()
    if asked.command == "sign":
        from shared import signing  # which needs what a device has not

        made = signing.sign(asked.bundle, asked.key, asked.sequence, asked.model, Path("build"))
        print(f"sign: {asked.bundle} has {made.name} {made.version}, sequence {made.sequence}")
    elif asked.command == "fetch":
        print(f"fetch: {asked.bundle} has {fetching.fetch(asked.url, asked.bundle)} bytes")
    elif asked.command == "install":
        options = {"allow_downgrade": asked.allow_downgrade, "url": asked.url}
        try:
            version = install(asked.bundle, asked.live, asked.key, **options)
        except OSError as error:  # a full disk, no such file
            raise audit.Failed(str(error)) from None
        print(f"install: {version} is served")
    elif asked.command == "rollback":
        print(f"rollback: {rollback(asked.live)} is served again")
    else:
        print(json.dumps(status(asked.live), indent=2))


if __name__ == "__main__":
    main()
