"""Memory that a process keeps when its arrays are freed.

glibc gives large arrays back to the kernel, and gets the pages of the next ones zeroed one by one: for loops that make
arrays of the same sizes again and again, that takes up to a fifth of their time.
"""

from __future__ import annotations

import ctypes
import os

HEAP_BYTES = 2**25  # glibc's own limit: arrays below it may come from the heap
PARAMETERS = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}  # variable -> number in malloc.h


def thresholds(kept: int) -> dict[str, int]:
    """Values of glibc's variables with which a process keeps so many bytes of freed memory at most."""
    return dict(zip(PARAMETERS, (HEAP_BYTES, kept), strict=True))


def keep_freed_memory(kept: int = 2**29) -> None:
    """Let this process keep so many bytes of freed memory, except where its environment says otherwise; other C
    libraries than glibc are left alone."""
    for variable, value in thresholds(kept).items():
        if variable not in os.environ:
            try:
                ctypes.CDLL(None).mallopt(PARAMETERS[variable], value)
            except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
                return
