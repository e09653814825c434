"""Tiles and fast memory (VMEM) of a TPU core."""

from __future__ import annotations

NUM_LANES = 128
"""Elements in the last axis of a tile, for every dtype."""

VMEM_FRACTION = 0.875
"""The fraction of VMEM that a kernel may use."""


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple that is not below the size."""
    return -(-size // multiple) * multiple
