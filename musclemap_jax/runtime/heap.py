"""Control of glibc's heap; with other C libraries both functions do nothing.

GLIBC_TUNABLES, set before the process starts, could replace `keep_freed_memory`. There is no such setting in place of
`tidy_heap`, without which a training step that was just compiled takes up to 1.5 times as long (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util

import jax

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""glibc's parameters M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX (malloc.h)."""

_STOPPER_BYTES, _CHUNK_BYTES = 16384, 16400
"""Size of a block that fills a hole, without and with malloc's header."""

_LARGE_HOLE_BYTES = 2**20
"""Holes of this size and more stay free: there are few, and they serve a step's temporaries. Filling them would make
them resident (a block's header lies in a page, which may be a huge one) and let the heap grow with every step."""

_MANY_HOLES = 20_000
"""Compiling a training step leaves a hundred thousand holes. Loading it from the compilation cache leaves 5,000:
searching them costs no time, and filling them would split the space that a step's temporaries need in one piece."""

_stoppers: list[int] = []
"""Addresses of the blocks that fill holes."""

_keeps_memory = False


def keep_freed_memory() -> None:
    """Lets a process that computes on CPUs reuse its memory from step to step; call it before JAX starts its threads.

    XLA:CPU allocates its temporaries in each step, gigabytes for a training step. By default glibc returns such blocks
    to the system at once, so each step pays for clearing them again, and on a virtual machine for getting them from the
    host. Here all blocks come from one heap that only `tidy_heap` shrinks; it grows during the first steps, until its
    holes fit a step's temporaries. The price: threads share one heap, so compiling a large program takes up to a
    quarter longer. On hosts of accelerators this does nothing, since a step does not wait for the host's memory.
    """
    global _keeps_memory
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or _may_have_accelerator():
        return
    library.mallopt(_ARENA_MAX, 1)  # the heaps of other threads cannot hold large blocks
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    _keeps_memory = True


def _may_have_accelerator() -> bool:
    """Whether JAX here may find more than CPUs; asking JAX itself would start its threads."""
    platforms = jax.config.jax_platforms  # ty: ignore[missing-attribute]  # made at run time
    if platforms:
        return platforms != "cpu"
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def tidy_heap() -> None:
    """Returns the heap's free pages to the system and keeps malloc from searching through small holes.

    Call it after a compilation, a checkpoint or an evaluation: they leave gigabytes of free blocks between used ones,
    of which only those at the heap's end go back by themselves. If freed memory is kept and there are very many such
    holes, each step would search through them (a third of its time). They are filled with unused blocks, whose pages
    stay with the system, until the next call.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        return
    library.free.argtypes, library.free.restype = [ctypes.c_void_p], None
    library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    library.sbrk.argtypes, library.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
    while _stoppers:
        library.free(_stoppers.pop())
    many = _free_blocks(library) > _MANY_HOLES
    library.malloc_trim(0)
    if not (_keeps_memory and many):
        return
    end = library.sbrk(0)
    in_a_row = 0
    # malloc takes the smallest hole that fits: once blocks lie side by side in a large one, no small hole is left.
    while in_a_row * _CHUNK_BYTES < _LARGE_HOLE_BYTES:
        block = library.malloc(_STOPPER_BYTES)
        if not block or block + _STOPPER_BYTES > end:  # no hole was left, the heap has grown
            library.free(block)
            return
        in_a_row = in_a_row + 1 if _stoppers and block == _stoppers[-1] + _CHUNK_BYTES else 1
        _stoppers.append(block)
    for _ in range(in_a_row):
        library.free(_stoppers.pop())


class _MallocInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = (("arena", ctypes.c_size_t), ("ordblks", ctypes.c_size_t), ("others", ctypes.c_size_t * 8))


def _free_blocks(library: ctypes.CDLL) -> int:
    """Number of free blocks in the heap; 0 if glibc is older than 2.33 and does not report it."""
    if not hasattr(library, "mallinfo2"):
        return 0
    library.mallinfo2.restype = _MallocInfo
    return library.mallinfo2().ordblks
