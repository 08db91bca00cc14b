"""Real images of a copied-out blueprint: built, locked up, compared, held to their sizes."""

import json
import os

import pytest
from copied import App, run

from shared import engine

CELLS = [("cloud", engine.native()), ("edge", engine.native()), ("edge", "linux/arm64")]
EVERY_CELL = pytest.mark.parametrize(("target", "platform"), CELLS)


def prove(app: App, target: str, platform: str, *more: str) -> None:
    """By the commands of the README, which may use the network: packages come from it.

    The folder's environment has newer packages than the repository's, so their hashes are fetched.
    more: options of the smoke test.
    """
    environment = os.environ | {"PATH": app.environment["PATH"]}
    environment["VIRTUAL_ENV"] = app.environment["VIRTUAL_ENV"]
    named = ["requirements-serve.txt", "requirements-edge.txt"]
    run(["python", "-m", "shared.hashes", *named], app.folder, environment)
    where = ["--target", target, "--platform", platform]
    run(["python", "-m", "shared.images", "build", *where], app.folder, environment)
    few = ["--count", "40", "--seconds", "90", *more]
    run(["python", "-m", "shared.smoke", "run", *where, *few], app.folder, environment)
    kept = app.folder / f"dist/{target}-{platform.partition('/')[2]}.json"
    assert json.loads(kept.read_text())["answers"] > 1
