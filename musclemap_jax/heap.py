"""What becomes of memory that the process has freed, where the C library is glibc; elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util

import jax

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Numbers of glibc's parameters M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX (malloc.h)."""


def keep_freed_memory() -> None:
    """Lets a process that computes on CPUs reuse its memory from step to step; call it before JAX starts its threads.

    XLA:CPU asks for its temporaries anew in each step, gigabytes for a training step, and glibc by itself hands such
    blocks back to the system at once: each step then pays for clearing them again, and on a virtual machine for getting
    them from the host. Here blocks come from one heap that does not shrink (`return_free_memory` shrinks it) and grows
    during the first steps, until its holes fit what a step asks for. The price: threads share one heap, so compiling a
    large program takes about a quarter longer, and in the process that compiled it malloc searches what that left.
    With an accelerator the host's memory is not what a step waits for, and all is left as it is.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or _may_have_accelerator():
        return
    library.mallopt(_ARENA_MAX, 1)  # the heaps of other threads cannot hold large blocks
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)


def _may_have_accelerator() -> bool:
    """Whether JAX here may find more than CPUs; asking JAX itself would start its threads."""
    if jax.config.jax_platforms:
        return jax.config.jax_platforms != "cpu"
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def return_free_memory() -> None:
    """Hands free pages of the heap back to the system.

    Compilation leaves gigabytes of free blocks between blocks in use, and checkpoints and evaluations take and leave
    theirs at other places of the heap each time; the heap's end alone shrinks by itself.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
