"""Tests here see the modules of this blueprint, also beside those of another in one process.

`ingest`, `validate` and others exist in every blueprint, and Python knows one module per name. So
whatever lies in blueprints/ is taken out of `sys.modules` before a file here is imported or a test
here runs, and put back afterwards. `__init__.py` beside this file does the same for test_ingest.
"""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from timeseries.weekly import forecast, forecaster, weekly  # noqa: F401

HERE = Path(__file__).parent
BLUEPRINTS = HERE.parents[1] / "blueprints"
own: dict[str, ModuleType] = {}


def taken_out() -> dict[str, ModuleType]:
    """The modules of all blueprints, which are then no longer imported."""
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    inside = f"{BLUEPRINTS}{os.sep}"  # as text: thousands of modules, twice for each test
    found = [name for name, file in files.items() if file and file.startswith(inside)]
    return {name: sys.modules.pop(name) for name in found}


@contextmanager
def blueprint(path: Path) -> Generator[None]:
    """The modules of this blueprint and no other's, if `path` is a test of it."""
    if HERE not in path.parents:
        yield
        return
    others, before = taken_out(), sys.path.copy()
    sys.path.insert(0, str(BLUEPRINTS / HERE.name))
    sys.modules.update(own)
    try:
        yield
    finally:
        own.update(taken_out())
        sys.path[:] = before
        sys.modules.update(others)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    with blueprint(collector.path):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    with blueprint(item.path):
        return (yield)
