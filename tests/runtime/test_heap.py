"""Tests of the heap: freed memory is kept or returned, and small holes are filled."""

import ctypes
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from musclemap_jax.runtime import heap

HOLES = """
import numpy as np
from pathlib import Path
from musclemap_jax.runtime.heap import tidy_heap

def resident_mib():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024

blocks = [np.ones(2**13) for _ in range(4000)]  # 64 KiB each
full = resident_mib()
blocks = blocks[::50]  # those that stay keep the heap from shrinking by itself
holed = resident_mib()
tidy_heap()
print(full, holed, resident_mib())
"""


MALLOC = """
import ctypes
from pathlib import Path
import musclemap_jax.runtime.heap

library = ctypes.CDLL(None)
library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
"""

HOLES_FILLED = (
    MALLOC
    + """
def virtual_mib():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
    return int(line.split()[1]) // 1024

def lies_in_a_hole(size):
    block = library.malloc(size)
    library.free(block)
    return first < block < last

musclemap_jax.runtime.heap.keep_freed_memory()
blocks = [library.malloc(2**14 + 2**9 * (index % 1900)) for index in range(6000)]  # of 16 KiB to 1 MiB
musclemap_jax.runtime.heap._MANY_HOLES = 1000
first, last = min(blocks), max(blocks)
for block in blocks[::2]:
    library.free(block)
print(*(lies_in_a_hole(size) for size in (20_000, 200_000, 800_000)))
musclemap_jax.runtime.heap.tidy_heap()
print(*(lies_in_a_hole(size) for size in (20_000, 200_000, 800_000)))
before = virtual_mib()
for _ in range(10):
    musclemap_jax.runtime.heap.tidy_heap()
print(virtual_mib() - before)
"""
)

LARGE_HOLE = (
    MALLOC
    + """
musclemap_jax.runtime.heap.keep_freed_memory()
musclemap_jax.runtime.heap._MANY_HOLES = 0
block, above = library.malloc(2**26), library.malloc(2**26)  # larger than any hole: both at the heap's end
library.free(block)
for _ in range(3):
    musclemap_jax.runtime.heap.tidy_heap()
    assert block <= library.malloc(2**24) < above  # each call takes a quarter of it
"""
)

KEPT = """
import resource, sys
import jax, jax.numpy as jnp
import musclemap_jax.runtime.heap

if sys.argv[1] == "keep":
    musclemap_jax.runtime.heap.keep_freed_memory()

@jax.jit
def chain(x, w):  # with temporaries of 64 MiB
    return jnp.sin(jnp.sin(x @ w) @ w).sum()

x, w = jnp.ones((2**16, 2**8)), jnp.ones((2**8, 2**8))
faults = []
for _ in range(60):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    chain(x, w).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(faults[-20:]))  # the heap has grown by then to what the steps need
"""

needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")


@needs_glibc
def test_a_step_reuses_the_memory_of_the_step_before():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": ""}
    command = [sys.executable, "-c", KEPT]
    faults = {
        how: int(subprocess.run([*command, how], capture_output=True, text=True, check=True, env=environment).stdout)
        for how in ("keep", "leave")
    }
    assert faults["leave"] > 20 * 10_000  # pages of 4 KiB
    assert faults["keep"] < faults["leave"] / 4


@pytest.mark.parametrize(("platforms", "kept"), [("cpu", True), ("cuda,cpu", False), ("tpu", False)])
def test_nothing_changes_on_hosts_of_accelerators(monkeypatch, platforms, kept):
    calls = []

    class Library:
        def mallopt(self, *arguments):
            calls.append(arguments)

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: Library())
    with monkeypatch.context() as patched:
        patched.setattr(heap.jax, "config", SimpleNamespace(jax_platforms=platforms))
        heap.keep_freed_memory()
    assert bool(calls) == kept


@needs_glibc
def test_free_blocks_between_used_ones_are_returned():
    process = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    full, holed, after = map(int, process.stdout.split())
    assert holed > full - 125  # of 250 MiB
    assert after < full - 200


@needs_glibc
def test_holes_are_filled_at_every_call():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": ""}
    command = [sys.executable, "-c", HOLES_FILLED]
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    before, after, growth = process.stdout.splitlines()
    assert before == "True True True"
    assert after == "False False False"
    assert int(growth) < 16  # of 1500 MiB of holes


@needs_glibc
def test_a_large_hole_stays_free():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": ""}
    subprocess.run([sys.executable, "-c", LARGE_HOLE], check=True, env=environment)
