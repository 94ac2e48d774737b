from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from textssl.system.freed_memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for round in range(30):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(2**20), np.ones(2**21), np.ones(2**21)]  # 40 MB
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str, **environment: str) -> int:
    """Pages that the kernel had to give in 20 rounds of making and freeing 40 MB."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, way],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_freed_memory_is_used_again():
    assert faults("kept") < 1_000
    given_back = {"MALLOC_MMAP_THRESHOLD_": "1048576"}  # larger ones are never of the heap
    assert faults("kept", **given_back) > 10_000  # what the user has set holds
