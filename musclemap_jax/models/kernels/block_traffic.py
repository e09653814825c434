"""Bytes that a Pallas kernel moves between HBM and fast memory, from the index maps of its blocks.

The pipeline of a TPU kernel fetches a block when its index differs from that of the step before, and writes one back
when its index is about to change. So an array whose index map repeats a block is moved once for the run of steps, and
one that the grid comes back to is moved again each time. Arrays lie in HBM in tiles of 8 x 128 elements, which are
moved whole: 96 channels cost as much as 128.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import pallas as pl

from musclemap_jax.models.kernels.tpu_tiles import NUM_LANES

Operand = jax.Array | jax.ShapeDtypeStruct

TILE_ROWS = 8
"""Rows of a tile in HBM, for every dtype."""


def moved_bytes(grid: Sequence[int], specs: Sequence[pl.BlockSpec], arrays: Sequence[Operand]) -> int:
    """Bytes that are fetched and written in one run of a kernel.

    Args:
      grid: The kernel's grid, whose last axis is the fastest.
      specs: The blocks of operands and outputs; their index maps take the step's place on every axis of the grid.
      arrays: The operands and outputs, or their shapes and dtypes.
    """
    steps = np.indices(grid).reshape(len(grid), -1)
    return sum(_moved(spec, array, steps) for spec, array in zip(specs, arrays, strict=True))


def _moved(spec: pl.BlockSpec, array: Operand, steps: np.ndarray) -> int:
    if spec.block_shape is None or spec.index_map is None:
        raise ValueError(f"expected a block with a shape and an index map, got {spec}")
    with jax.ensure_compile_time_eval():
        places = [np.broadcast_to(np.asarray(place), steps.shape[1]) for place in spec.index_map(*steps)]
    index, block = np.stack(places), np.asarray(spec.block_shape, dtype=np.int64)[:, None]
    is_new = np.concatenate([[True], np.any(index[:, 1:] != index[:, :-1], axis=0)])
    # The last block of an axis is cut off at the array's end.
    extent = np.minimum(block, np.asarray(array.shape)[:, None] - index[:, is_new] * block)
    for axis, size in ((-1, NUM_LANES), (-2, TILE_ROWS)):
        extent[axis] = -(-extent[axis] // size) * size
    return int(extent.prod(axis=0).sum()) * array.dtype.itemsize
