"""What becomes of memory that the process has freed, where the C library is glibc; elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util

import jax

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Numbers of glibc's parameters M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX (malloc.h)."""

_STOPPER_BYTES, _CHUNK_BYTES = 16384, 16400
"""Of a block that fills a hole, and with malloc's header: smaller holes are worth their pages."""

_LARGE_HOLE_BYTES = 2**20
"""Holes from here on are few, and the temporaries' own. To fill them would make them resident (a block's header lies in
a page, which may be a huge one), and push each step's temporaries to the heap's end: it would grow without bound."""

_MANY_HOLES = 20_000
"""A training step that was compiled leaves a hundred thousand, one that came from the compilation cache five thousand,
whose search costs nothing; to fill those would part what the steps' temporaries need in one piece."""

_stoppers: list[int] = []
"""Addresses of the blocks that fill holes."""

_keeps_memory = False


def keep_freed_memory() -> None:
    """Lets a process that computes on CPUs reuse its memory from step to step; call it before JAX starts its threads.

    XLA:CPU asks for its temporaries anew in each step, gigabytes for a training step, and glibc by itself hands such
    blocks back to the system at once: each step then pays for clearing them again, and on a virtual machine for getting
    them from the host. Here blocks come from one heap that does not shrink (`tidy_heap` shrinks it) and grows during
    the first steps, until its holes fit what a step asks for. The price: threads share one heap, so compiling a large
    program takes up to a quarter longer. With an accelerator the host's memory is not what a step waits for, and all is
    left as it is.
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
    platforms = jax.config.read("jax_platforms")
    if platforms:
        return platforms != "cpu"
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def tidy_heap() -> None:
    """Hands free pages of the heap back to the system, and spares malloc the search through small holes.

    Call it after compilation, a checkpoint or an evaluation. They leave gigabytes of free blocks between blocks in use;
    the heap's end alone shrinks by itself. Where freed memory is kept and there are very many of these holes, each step
    would look through them (a third of its time): they are filled with blocks that nothing uses, whose pages stay with
    the system, until the next call.
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
    # malloc takes the smallest hole that fits: once blocks fill a large one side by side, no small hole is left.
    while in_a_row * _CHUNK_BYTES < _LARGE_HOLE_BYTES:
        block = library.malloc(_STOPPER_BYTES)
        if not block or block + _STOPPER_BYTES > end:  # no hole was left: it made the heap longer
            library.free(block)
            return
        in_a_row = in_a_row + 1 if _stoppers and block == _stoppers[-1] + _CHUNK_BYTES else 1
        _stoppers.append(block)
    for _ in range(in_a_row):
        library.free(_stoppers.pop())


class _MallocInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def _free_blocks(library: ctypes.CDLL) -> int:
    """How many free blocks the heap has; 0 where glibc is older than 2.33 and does not tell."""
    if not hasattr(library, "mallinfo2"):
        return 0
    library.mallinfo2.restype = _MallocInfo
    return library.mallinfo2().ordblks
