"""Whether memory that a process frees stays with it: in training it does, after a model it goes."""

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


def give_back() -> bool:
    """Return freed memory to the kernel; gives whether there was some (never on macOS or musl).

    By itself glibc returns only what lies at the end of an arena, and from the first large block
    freed on it also places those up to 32 MB there. What a model leaves behind lies below blocks in
    use, in pieces that the next one does not fill.
    """
    try:
        return bool(ctypes.CDLL("libc.so.6").malloc_trim(0))
    except (OSError, AttributeError):
        return False
