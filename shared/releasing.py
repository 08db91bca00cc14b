"""Which model is served: put a new one in place, flip back, see whether the service follows.

    python -m shared.releasing deploy      serve the model in export/ (also one rolled back before)
    python -m shared.releasing rollback    serve the version before the present one again
    python -m shared.releasing history     what was promoted and rolled back, and when

live/models/ has the models and live/current the name of the one served, which services watch.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from shared import intact, lineage, objectives, params, provenance, registry, tracking
from shared.audit import Refused
from shared.comparing import Comparison as Comparison
from shared.comparing import compare as compare
from shared.lineage import alone, current, flip, history, prune, rolled_back, settle, sync
from shared.lineage import serving as serving
from shared.saying import says as says
from shared.saying import served as served


def deploy(export: Path, live: Path, again: bool = False) -> str:
    """Serve the model in `export` from now on; gives its name under live/models/.

    The files of its pipeline, which say where it comes from, lie beside `export`.
    again: also a version that was rolled back before; otherwise that raises Refused.
    Raises OSError when the disk is full; the old model then serves on.
    """
    with alone(live):
        settle(live)
        chain = _chain(export, live)
        name = str(chain["model_version"])
        if not again and name in rolled_back(live):
            raise Refused(f"version {name} was rolled back before")
        added = _add(export, chain, live / "models" / name)
        if current(live) != name:
            flip(live, name, event="promoted", version=name)
        elif added:  # it was damaged; a service that refused it looks again
            (live / "current").touch()
        prune(live)
    return name


def rollback(live: Path) -> str:
    """Serve the version before the present one again; retraining never deploys the present one.

    Gives the version then served. The registry's alias follows, if a registry answers.
    Raises Refused when there is none before, or a damaged one; the present one serves on.
    """
    with alone(live):
        settle(live)
        bad, former = lineage.take_back(live)
    folder = live.resolve().parent
    if registry.is_there(folder):
        name = objectives.load(folder / "objectives.yaml").name
        tracking.tolerant(lambda: registry.withdraw(name, bad), later="rollback")
    return former


def _chain(export: Path, live: Path) -> dict[str, Any]:
    """Where the model comes from; git does not know a workspace, so it is asked beside live/."""
    version = provenance.file_hash(*provenance.model_files(export))[:12]
    dirty = provenance.collect(live.resolve().parent)["git_dirty"]
    own = {"git_dirty": dirty, "model_version": version, "bento": "none"}
    return provenance.collect(export.resolve().parent) | own


def _add(export: Path, chain: dict[str, Any], place: Path) -> bool:
    """Copy the model; a folder has its name only when all of it is on the disk.

    One that is there already stays, unless it is damaged. Gives whether it was put in place.
    """
    if missing := not place.exists() or bool(intact.damaged(place)):
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}")
        shutil.rmtree(draft, ignore_errors=True)
        try:
            shutil.copytree(export, draft)
            params.write_json(draft / "provenance.json", chain)
            usual = export.resolve().parent / "reports/reference.json"
            if usual.exists():  # what the monitor compares this model's traffic with
                shutil.copy2(usual, draft / "reference.json")
            intact.seal(draft)
            for path in [*draft.rglob("*"), draft]:
                sync(path)
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    os.utime(place)  # its age counts from now on
    sync(place.parent)
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["deploy", "rollback", "history"])
    parser.add_argument("--live", type=Path, default=Path("live"))
    asked = parser.parse_args()
    if asked.command == "deploy":
        print(f"deploy: {deploy(Path('export'), asked.live, again=True)} is served")
    elif asked.command == "rollback":
        print(f"rollback: {rollback(asked.live)} is served again")
    else:
        print("\n".join(json.dumps(change) for change in history(asked.live)))


if __name__ == "__main__":
    main()
