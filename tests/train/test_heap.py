"""Test that free memory goes back to the system."""

import ctypes
import subprocess
import sys

import pytest

HOLES = """
import numpy as np
from pathlib import Path
from musclemap_jax.train.heap import return_free_memory

def resident_mib():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024

blocks = [np.ones(2**13) for _ in range(4000)]  # 64 KiB each
full = resident_mib()
blocks = blocks[::50]  # those that stay keep the heap from shrinking by itself
holed = resident_mib()
return_free_memory()
print(full, holed, resident_mib())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_free_blocks_between_used_ones_are_handed_back():
    process = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    full, holed, after = map(int, process.stdout.split())
    assert holed > full - 125  # of 250 MiB
    assert after < full - 200
