"""Pauses Python's cyclic garbage collector while it only costs time."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator


@contextlib.contextmanager
def gc_paused() -> Generator[None]:
    """Pauses the collector for the block; for tracing and lowering.

    Tracing makes millions of small objects that stay in use. The collector would walk through them again and again, for
    30 % of the time that tracing and lowering TransM3E takes, and find next to no garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
