"""What BentoML needs to build a service: how its image is made, and from which folder.

    bentoml build build             in a blueprint's folder, after dvc repro
    bentoml serve NAME:latest
    bentoml containerize NAME:latest

BentoML packs the folder that it is given. `shared` lies two folders up, so a Bento of the
blueprint's own folder would be built and then die at import elsewhere.
"""

import sys
from pathlib import Path
from typing import Any


def image() -> Any:
    """How BentoML builds the container image: packaging's exact versions, not resolved again.

    Raises SystemExit where `bentoml build` was given a folder without `shared`.
    """
    import bentoml

    complete(sys.argv)
    bare = bentoml.images.Image(python_version="3.11", lock_python_packages=False)
    return bare.requirements_file("requirements-serve.txt")


def complete(command: list[str]) -> None:
    """Raises SystemExit if it is a `bentoml build` of a folder that lacks `shared`."""
    name, *words = command
    if Path(name).name != "bentoml" or words[:1] != ["build"]:
        return
    given = [Path(word) for word in words[1:] if Path(word).is_dir()]
    folder = given[-1] if given else Path()
    if not (folder / "shared").is_dir():
        raise SystemExit(
            f"{folder.resolve()} has no folder shared/, so this Bento would not start elsewhere; "
            f"run: dvc repro && bentoml build build"
        )
