"""Depthwise convolutions of several groups of channels, each with its own stride, in one pass over TPU memory.

XLA splits such convolutions into strips and copies the operand several times; queries, keys and values of pooling
attention (arXiv:2112.01526), strided differently, each take a slice and another convolution. Here each frame is read
once: a ring buffer in fast memory (VMEM) holds as many frames as the kernel is long, with a border of zeros, and every
output is a sum over shifted copies. The backward pass dilates the gradient by the stride and does the same with the
kernel reversed; the kernel's gradient is accumulated in VMEM.

Letters of shapes: B clips, T H W the grid, C channels; 2 marks the strided grid, H2 = ceil(H / stride).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.block_traffic import moved_bytes
from musclemap_jax.models.kernels.sliding_windows import Axes, Triple, strided_grid, tap_offsets
from musclemap_jax.models.kernels.tpu_tiles import NUM_LANES, VMEM_FRACTION, round_up

NUM_SUBLANES = 8
"""Rows of a tile of float32."""


class ChannelGroup(NamedTuple):
    """Channels from `start` to before `stop`, convolved with one stride, whose time must be 1."""

    start: int
    stop: int
    strides: Triple


class _Config(NamedTuple):
    """Static settings: the groups, the kernel's size, and bytes of VMEM (None for interpret mode)."""

    groups: tuple[ChannelGroup, ...]
    size: Axes
    vmem_bytes: int | None


class _LaneBlock(NamedTuple):
    """At most one tile's lanes of a group: the group's index, their number, and where they are in it and in x."""

    group: int
    width: int
    lanes: slice
    channels: slice


def grouped_depthwise(
    x: Float[Array, "B T H W C"],
    kernel: Float[Array, "kt kh kw C"],
    groups: tuple[ChannelGroup, ...],
    vmem_bytes: int | None,
) -> tuple[Float[Array, "B T _ _ _"], ...]:
    """Convolves every channel with its own kernel of odd size, zero padding kernel // 2, each group with its strides.

    Args:
      x: An array of any float dtype.
      kernel: Likewise.
      groups: Groups that cover all channels in order.
      vmem_bytes: Bytes of VMEM of the chip; None runs the kernels in interpret mode, on any platform (for tests).

    Returns:
      For each group an array (B, T, H2, W2, channels) in the dtype of x, accumulated in float32.
    """
    config = _Config(groups, kernel.shape[:3], vmem_bytes)
    return _conv(config, x, kernel.reshape(-1, kernel.shape[3]).astype(jnp.float32))


def grouped_depthwise_fits(
    shape: tuple[int, ...], size: Axes, groups: tuple[ChannelGroup, ...], vmem_bytes: int
) -> bool:
    """Whether the kernels can convolve an x of this shape (B, T, H, W, C) and compute its gradient."""
    if any(group.strides[0] != 1 for group in groups) or size[2] // 2 > NUM_SUBLANES:
        return False
    rings = 2 * sum(math.prod(_ring_shape(shape, size)) for _ in _lane_blocks(groups)) * 4
    frame = round_up(shape[3], 2 * NUM_SUBLANES) * shape[2] * round_up(shape[4], NUM_LANES) * 2
    # The frame and both gradients, double-buffered.
    return rings + 6 * frame <= VMEM_FRACTION * vmem_bytes


def _lane_blocks(groups: tuple[ChannelGroup, ...]) -> list[_LaneBlock]:
    blocks = []
    for index, group in enumerate(groups):
        for first in range(group.start, group.stop, NUM_LANES):
            last = min(first + NUM_LANES, group.stop)
            lanes = slice(first - group.start, last - group.start)
            blocks.append(_LaneBlock(index, last - first, lanes, slice(first, last)))
    return blocks


def _ring_shape(shape: tuple[int, ...], size: Axes) -> tuple[int, ...]:
    """Frames, rows, columns and lanes of a block's ring, with its border."""
    return (size[0], shape[2] + size[1] - 1, round_up(shape[3], NUM_SUBLANES) + 2 * NUM_SUBLANES, NUM_LANES)


def _column_slice(count: int, stride: int, shift: int) -> pl.Slice | slice:
    return pl.ds(NUM_SUBLANES + shift, count) if stride == 1 else pl.ds(NUM_SUBLANES + shift, count, stride=stride)


def _zero(ring) -> None:
    def row(index: jax.Array, _: None) -> None:
        for frame in range(ring.shape[0]):
            ring[frame, index] = jnp.zeros(ring.shape[2:], ring.dtype)

    lax.fori_loop(0, ring.shape[1], row, None)


def _write_frame(ring, slot, frame_ref, lanes: slice, strides: Axes, border: int, valid: jax.Array) -> None:
    """Writes a frame's lanes into the ring, dilated by the strides; zeros if `valid` is 0."""

    def row(index: jax.Array, _: None) -> None:
        values = frame_ref[0, 0, index, :, lanes].astype(jnp.float32) * valid
        if values.shape[1] < NUM_LANES:
            values = jnp.concatenate([values, jnp.zeros((values.shape[0], NUM_LANES - values.shape[1]))], axis=1)
        ring[slot, border + index * strides[1], _column_slice(values.shape[0], strides[2], 0), :] = values

    lax.fori_loop(0, frame_ref.shape[2], row, None)


def _forward_kernel(config: _Config, x_ref, *refs) -> None:
    blocks, size = _lane_blocks(config.groups), config.size
    weights, outs, rings = _split_refs(refs, len(blocks), len(config.groups))
    step, reach = pl.program_id(1), size[0] // 2
    valid = (step < pl.num_programs(1) - reach).astype(jnp.float32)

    @pl.when(step == 0)
    def _start() -> None:
        for ring in rings:
            _zero(ring)

    for block, ring in zip(blocks, rings, strict=True):
        _write_frame(ring, step % size[0], x_ref, block.channels, (1, 1, 1), size[1] // 2, valid)

    def convolve(block: _LaneBlock, ring, weight_ref) -> None:
        strides, out_ref = config.groups[block.group].strides, outs[block.group]

        def row(index: jax.Array, _: None) -> None:
            total = jnp.zeros((out_ref.shape[3], NUM_LANES), jnp.float32)
            for tap, (t, h, w) in enumerate(tap_offsets(size)):
                columns = _column_slice(out_ref.shape[3], strides[2], w - size[2] // 2)
                window = ring[(step + 1 + t) % size[0], index * strides[1] + h, columns, :]
                total += window * weight_ref[tap : tap + 1, :]
            out_ref[0, 0, index, :, block.lanes] = total[:, : block.width].astype(out_ref.dtype)

        lax.fori_loop(0, out_ref.shape[2], row, None)

    @pl.when(step >= reach)
    def _output() -> None:
        for arguments in zip(blocks, rings, weights, strict=True):
            convolve(*arguments)


def _backward_kernel(config: _Config, x_ref, *refs) -> None:
    blocks, size = _lane_blocks(config.groups), config.size
    counts = (len(blocks), len(config.groups), 1, len(blocks), len(blocks))
    weights, gradients, (dx_ref,), d_weights, rings, d_rings = _split_refs(refs, *counts)
    step, reach, border = pl.program_id(1), size[0] // 2, size[1] // 2
    valid = (step < pl.num_programs(1) - reach).astype(jnp.float32)

    @pl.when(step == 0)
    def _start() -> None:
        for ring in (*rings, *d_rings):
            _zero(ring)
        for d_weight in d_weights:
            d_weight[...] = jnp.zeros_like(d_weight)

    for block, ring, d_ring in zip(blocks, rings, d_rings, strict=True):
        strides = config.groups[block.group].strides
        _write_frame(ring, step % size[0], x_ref, block.channels, (1, 1, 1), border, valid)
        _write_frame(d_ring, step % size[0], gradients[block.group], block.lanes, strides, border, valid)

    @pl.when(step >= reach)
    def _output() -> None:
        for block, ring, d_ring, weight_ref, d_weight in zip(blocks, rings, d_rings, weights, d_weights, strict=True):
            _input_gradient(config, step, block, d_ring, weight_ref, dx_ref)
            _accumulate_kernel_gradient(config, step, block, ring, d_ring, gradients[block.group].shape, d_weight)


def _input_gradient(config: _Config, step, block: _LaneBlock, d_ring, weight_ref, dx_ref) -> None:
    """The input's gradient at the middle frame of the ring."""
    size = config.size

    def row(index: jax.Array, _: None) -> None:
        total = jnp.zeros((dx_ref.shape[3], NUM_LANES), jnp.float32)
        for tap, (t, h, w) in enumerate(tap_offsets(size)):
            columns = _column_slice(dx_ref.shape[3], 1, size[2] // 2 - w)
            window = d_ring[(step + size[0] - t) % size[0], index + size[1] - 1 - h, columns, :]
            total += window * weight_ref[tap : tap + 1, :]
        dx_ref[0, 0, index, :, block.channels] = total[:, : block.width].astype(dx_ref.dtype)

    lax.fori_loop(0, dx_ref.shape[2], row, None)


def _accumulate_kernel_gradient(
    config: _Config, step, block: _LaneBlock, ring, d_ring, shape: tuple[int, ...], d_weight
) -> None:
    """Adds the middle frame's contribution to the kernel's gradient."""
    size, strides = config.size, config.groups[block.group].strides

    def row(index: jax.Array, _: None) -> None:
        slot, border = (step + size[0] - size[0] // 2) % size[0], size[1] // 2
        gradient = d_ring[slot, border + index * strides[1], _column_slice(shape[3], strides[2], 0), :]
        for tap, (t, h, w) in enumerate(tap_offsets(size)):
            columns = _column_slice(shape[3], strides[2], w - size[2] // 2)
            window = ring[(step + 1 + t) % size[0], index * strides[1] + h, columns, :]
            d_weight[0, tap : tap + 1, :] += jnp.sum(window * gradient, axis=0, keepdims=True)

    lax.fori_loop(0, shape[2], row, None)


def _split_refs(refs, *counts: int) -> list:
    """Splits a sequence into parts of these lengths and the rest."""
    ends = [0, *itertools.accumulate(counts), len(refs)]
    return [refs[start:end] for start, end in itertools.pairwise(ends)]


def _padded_weights(config: _Config, kernel: jax.Array) -> list[jax.Array]:
    """The kernel's taps of each block, (taps, NUM_LANES)."""
    return [
        jnp.pad(kernel[:, block.channels], ((0, 0), (0, NUM_LANES - block.width)))
        for block in _lane_blocks(config.groups)
    ]


def _call(
    config: _Config, kernel, x: jax.Array, weights: list[jax.Array], gradients, outputs: list
) -> Sequence[jax.Array]:
    """Runs a kernel over clips and frames; it outputs frame t when frame t + kt // 2 has been read."""
    num_clips, num_frames = x.shape[:2]
    reach, num_rings = config.size[0] // 2, len(_lane_blocks(config.groups)) * (2 if gradients else 1)

    def frames(shape: tuple[int, ...], read: bool) -> pl.BlockSpec:
        def index(clip, step):
            frame = jnp.minimum(step, num_frames - 1) if read else jnp.maximum(step - reach, 0)
            return (clip, frame, 0, 0, 0)

        return pl.BlockSpec((1, 1, *shape[2:]), index)

    weight_spec = pl.BlockSpec(weights[0].shape, lambda clip, step: (0, 0))
    clip_spec = pl.BlockSpec((1, *weights[0].shape), lambda clip, step: (clip, 0, 0))
    operands = [x, *weights, *gradients]
    products = 2 if gradients else 1
    multiply_adds = math.prod(config.size) * sum(math.prod(shape) for shape in _output_shapes(config, x.shape))
    grid = (num_clips, num_frames + reach)
    in_specs = [
        frames(x.shape, True),
        *[weight_spec] * len(weights),
        *(frames(gradient.shape, True) for gradient in gradients),
    ]
    out_specs = [frames(out.shape, False) if len(out.shape) == 5 else clip_spec for out in outputs]
    cost = pl.CostEstimate(
        flops=2 * products * multiply_adds,
        transcendentals=0,
        bytes_accessed=moved_bytes(grid, [*in_specs, *out_specs], [*operands, *outputs]),
    )
    return pl.pallas_call(
        functools.partial(kernel, config),
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=outputs,
        scratch_shapes=[pltpu.VMEM(_ring_shape(x.shape, config.size), jnp.float32)] * num_rings,
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=int(VMEM_FRACTION * (config.vmem_bytes or 0))),
        interpret=config.vmem_bytes is None,
    )(*operands)


def _output_shapes(config: _Config, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(shape[0], *strided_grid(shape[1:4], group.strides), group.stop - group.start) for group in config.groups]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(config, x, kernel):
    outputs = [jax.ShapeDtypeStruct(shape, x.dtype) for shape in _output_shapes(config, x.shape)]
    return tuple(_call(config, _forward_kernel, x, _padded_weights(config, kernel), [], outputs))


def _conv_backward(config, residuals, gradients):
    x, kernel = residuals
    weights = _padded_weights(config, kernel)
    weight_gradient = jax.ShapeDtypeStruct((x.shape[0], *weights[0].shape), jnp.float32)
    outputs = [jax.ShapeDtypeStruct(x.shape, x.dtype), *[weight_gradient] * len(weights)]
    dx, *d_weights = _call(config, _backward_kernel, x, weights, list(gradients), outputs)
    blocks = _lane_blocks(config.groups)
    d_kernel = [d_weight[..., : block.width].sum(0) for block, d_weight in zip(blocks, d_weights, strict=True)]
    return dx, jnp.concatenate(d_kernel, axis=-1)


_conv.defvjp(lambda config, x, kernel: (_conv(config, x, kernel), (x, kernel)), _conv_backward)
