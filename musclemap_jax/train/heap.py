"""Memory that the process has freed and its allocator still holds."""

from __future__ import annotations

import ctypes


def return_free_memory() -> None:
    """Hands free pages of the heap back to the system; does nothing where the C library is not glibc.

    Compilation leaves gigabytes of free blocks between blocks in use, and checkpoints and evaluations take and leave
    theirs at other places of the heap each time: without this the resident memory creeps up for a thousand steps.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
