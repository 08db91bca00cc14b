"""Freed blocks are used again instead of coming fresh from the kernel."""

import ctypes
import subprocess
import sys

import pytest

from shared import memory

FAULTS = """
import ctypes, resource, sys
from shared import memory
kept = sys.argv[1] == "keep" and memory.keep_freed()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(10):
    block = libc.malloc(64_000_000)
    ctypes.memset(block, 1, 64_000_000)
    libc.free(block)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(what: str) -> tuple[str, int]:
    command = [sys.executable, "-c", FAULTS, what]
    kept, faults = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_blocks_are_touched_once_instead_of_each_time() -> None:
    (_, plain), (kept, ours) = page_faults("plain"), page_faults("keep")
    assert kept == "True"
    assert ours < plain / 2, (ours, plain)


def test_other_systems_go_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert memory.keep_freed() is False
    assert memory.give_back() is False
