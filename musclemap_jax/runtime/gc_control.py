"""Python's cyclic garbage collector, and when it is in the way."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator


@contextlib.contextmanager
def gc_paused() -> Generator[None]:
    """Leaves cyclic garbage where it is for as long as the block runs; for tracing and lowering.

    They make millions of small objects that stay in use. The collector walks through them again and again, for 30 % of
    the time that tracing and lowering TransM3E takes, and next to nothing of what it finds is garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
