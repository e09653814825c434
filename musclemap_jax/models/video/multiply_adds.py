"""Multiply-adds of the video backbones from their shapes; counted as in cost/flops.py.

Letters of shapes: T H W frames and pixels or a grid, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from musclemap_jax.models.kernels.sliding_windows import Axes, Triple, strided_grid
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.models.video.pooling_attention import BlockSpec
from musclemap_jax.models.video.resnet_spec import BottleneckSpec, ResNetSpec
from musclemap_jax.models.video.swin import SwinSpec
from musclemap_jax.models.video.swin_block import MLP_RATIO
from musclemap_jax.models.video.token_readout import readout_multiply_adds
from musclemap_jax.models.video.windows import Windows

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


def swin_multiply_adds(spec: SwinSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass of Video Swin on one view, with padding; arguments as in `mvit_multiply_adds`."""
    ((*size, channels),) = shapes
    grid = strided_grid(tuple(size), spec.patch_size)
    total = math.prod(grid) * spec.embed_dim * channels * math.prod(spec.patch_size)
    positions = []
    for stage, (width, depth) in enumerate(zip(spec.widths, spec.depths, strict=True)):
        if stage:
            grid = strided_grid(grid, (1, 2, 2))
            total += math.prod(grid) * 2 * width * width
        windows = Windows.of(grid, spec.window_size, shifted=False)
        attention = math.prod(windows.padded) * (4 * width**2 + 2 * windows.num_tokens * width)
        total += depth * (attention + math.prod(grid) * 2 * MLP_RATIO * width**2)
        positions.append(math.prod(grid))
    return total + readout_multiply_adds(positions, spec.widths, num_tokens)


def resnet_multiply_adds(spec: ResNetSpec, shapes: Sequence[Shape], num_tokens: int = 0) -> int:
    """Counts the forward pass of a convolutional network on one view; arguments as in `mvit_multiply_adds`."""
    ((num_frames, *size, channels),) = shapes
    frames = {pathway: num_frames if pathway or not spec.has_fast else num_frames // spec.alpha for pathway in (0, 1)}
    grid, total, positions = _halved(tuple(size)), 0, []
    for pathway in spec.pathways:
        taps = spec.temporal_kernels(pathway)[0][0] * 7 * 7
        total += frames[pathway] * math.prod(grid) * taps * channels * spec.stem_width(pathway)
    grid = _halved(grid)
    for stage in range(1, len(spec.depths) + 1):
        lateral = spec.lateral_width(stage - 1)
        fused = frames[0] * math.prod(grid) * spec.fusion_kernel * lateral
        total += fused * spec.part_width(stage - 1, 1) if lateral else 0
        if stage == 2:
            frames[0] //= spec.pool_frames
        before, grid = grid, _halved(grid) if stage > 1 else grid
        for pathway in spec.pathways:
            first, *others = spec.blocks(stage, pathway)
            total += _bottleneck(first, frames[pathway], before, grid)
            total += sum(_bottleneck(block, frames[pathway], grid, grid) for block in others)
        positions.append(frames[0] * math.prod(grid))
    widths = [spec.stage_width(stage) for stage in range(1, len(spec.depths) + 1)]
    return total + readout_multiply_adds(positions, widths, num_tokens)


def _halved(grid: Axes) -> Axes:
    return tuple(-(-length // 2) for length in grid)


def _bottleneck(spec: BottleneckSpec, num_frames: int, grid: Axes, strided: Axes) -> int:
    before, after = num_frames * math.prod(grid), num_frames * math.prod(strided)
    total = before * spec.features_in * spec.inner * spec.kernel_t
    total += after * spec.inner * (9 * spec.inner + spec.features)
    return total + (0 if spec.preserves_shape else after * spec.features_in * spec.features)
