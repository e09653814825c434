"""Tiles and fast memory (VMEM) of a TPU core."""

from __future__ import annotations

NUM_LANES = 128
"""Elements in the last axis of a tile, for every dtype."""

NUM_ROWS = 16
"""Rows of a tile of bfloat16; a tile of float32 has half of them."""

VMEM_FRACTION = 0.875
"""The fraction of VMEM that a kernel may use."""


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple that is not below the size."""
    return -(-size // multiple) * multiple


def block_of_rows(num_rows: int, most: int) -> int:
    """Rows of a step: whole tiles; between half and all of the most, the size that needs the least padding."""
    most = max(min(most, round_up(num_rows, NUM_ROWS)) // NUM_ROWS, 1) * NUM_ROWS
    return min(range(most, most // 2, -NUM_ROWS), key=lambda size: round_up(num_rows, size))
