"""Multiply-adds of MViTv2 from its shapes; counted as in cost/flops.py.

Letters of shapes: T H W frames and pixels or a grid, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from musclemap_jax.models.kernels.sliding_windows import Triple, strided_grid
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.models.video.pooling_attention import BlockSpec

Shape = tuple[int, ...]


def mvit_multiply_adds(spec: MViTSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass of MViTv2 on one view, without a head.

    Args:
      spec: The architecture.
      shapes: The shape (T, H, W, C) of the view.
      num_tokens: Class tokens of all sets together; 0 for the published network, which has one.
    """
    ((*size, channels),) = shapes
    grid = strided_grid(tuple(size), spec.patch_stride)
    total = math.prod(grid) * spec.embed_dim * channels * math.prod(spec.patch_kernel)
    for block in spec.blocks():
        total += _block(block, grid, num_tokens or 1)
        grid = strided_grid(grid, block.q_stride)
    return total


def _block(spec: BlockSpec, grid: Triple, num_tokens: int) -> int:
    query_grid, key_grid = strided_grid(grid, spec.q_stride), strided_grid(grid, spec.kv_stride)
    patches, queries, keys = math.prod(grid), math.prod(query_grid), math.prod(key_grid)
    incoming, outgoing = patches + num_tokens, queries + num_tokens
    widened = incoming * spec.dim_in * spec.dim_out if spec.dim_in != spec.dim_out else 0
    project = incoming * spec.dim_in * 3 * spec.dim_out
    pool = math.prod(spec.pool_kernel) * spec.dim_out * (queries + 2 * keys)
    attend = 2 * outgoing * (keys + num_tokens) * spec.dim_out
    positions = queries * sum(key_grid) * spec.dim_out
    merge = outgoing * spec.dim_out**2
    mlp = 2 * outgoing * spec.dim_out * int(spec.dim_out * spec.mlp_ratio)
    return widened + project + pool + attend + positions + merge + mlp
