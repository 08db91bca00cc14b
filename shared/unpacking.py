"""The models of a device, in LIVE/models/: each is there whole or, under its name, not at all."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from shared import attempts, bundles, intact, lineage, params, provenance
from shared.audit import Refused
from shared.bundles import Manifest


def unpack(bundle: Path, manifest: Manifest, live: Path, keys: Sequence[Path]) -> Path:
    """The folder of a bundle's model; what is there already stays as it is, if it is whole."""
    place = live / "models" / manifest.folder
    draft = place.with_name(f".{place.name}")
    if not bundles.intact(place):
        draft.mkdir(parents=True)
        if bundles.read(bundle, keys, draft) != manifest:
            raise Refused("the bundle was exchanged while it was read")
        keep(draft, place)
    return place


def packaged(service: Path, live: Path) -> Path:
    """The folder of a copy of the model that was packaged with the service."""
    chain = provenance.packaged(service)
    place = live / "models" / f"{chain['model_version']}-packaged"
    if not place.exists():
        draft = place.with_name(f".{place.name}")
        shutil.copytree(service / "export", draft)
        params.write_json(draft / "provenance.json", chain)
        keep(draft, place)
    return place


def keep(draft: Path, place: Path) -> None:
    """Give a folder its name, once all of it is on the disk; a broken one of that name goes."""
    attempts.begin("keeping")
    intact.seal(draft)
    for path in [*draft.rglob("*"), draft]:
        lineage.sync(path)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    lineage.sync(place.parent)
