"""A blueprint's tests see its modules and no other's, also beside those in one process.

`ingest`, `validate` and others exist in every blueprint, and Python knows one module per name. So
whatever lies in blueprints/ is taken out of `sys.modules` before a file of tests/<blueprint>/ is
imported or a test there runs, and put back afterwards.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).parent
BLUEPRINTS = TESTS.parent / "blueprints"
own: dict[str, dict[str, ModuleType]] = {}


def taken_out() -> dict[str, ModuleType]:
    """The modules of all blueprints, which are then no longer imported."""
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    inside = f"{BLUEPRINTS}{os.sep}"  # as text: thousands of modules, twice for each test
    found = [name for name, file in files.items() if file and file.startswith(inside)]
    return {name: sys.modules.pop(name) for name in found}


@contextmanager
def blueprint(path: Path) -> Iterator[None]:
    """The modules of the blueprint that `path` is a test of, if it is one's."""
    name = path.relative_to(TESTS).parts[0] if TESTS in path.parents else ""
    if not (BLUEPRINTS / name).is_dir() or not name:
        yield
        return
    others, before = taken_out(), sys.path.copy()
    sys.path.insert(0, str(BLUEPRINTS / name))
    sys.modules.update(own.get(name, {}))
    try:
        yield
    finally:
        own.setdefault(name, {}).update(taken_out())
        sys.path[:] = before
        sys.modules.update(others)
