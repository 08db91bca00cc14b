"""Memory that a process frees stays with it, for training and scoring on CPUs."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
UNLIMITED = 2**31 - 1


def keep_freed() -> bool:
    """Let glibc keep large blocks for reuse; gives whether it could (not on macOS or musl).

    By default each block above 32 MB comes fresh from the kernel, zeroed page by page, and the
    outputs of a layer for a batch of images are such blocks: scoring took three times as long.
    The process then stays as large as it once was.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_THRESHOLD, 2**30) and mallopt(TRIM_THRESHOLD, UNLIMITED))
