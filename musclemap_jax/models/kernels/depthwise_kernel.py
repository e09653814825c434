"""Depthwise convolutions of several groups of channels, each with its own stride, in one pass over TPU memory.

XLA cuts such convolutions into strips and copies the operand several times; queries, keys and values of pooling
attention (arXiv:2112.01526), strided differently, each take a cut and another convolution. Here each frame is read
once: a ring in fast memory holds as many frames as the kernel is long, with a border of zeros, and every output is a
sum over shifted copies. The backward pass spreads the gradient by the stride's zeros and does the same with the kernel
reversed; the kernel's gradient is summed in fast memory.

Letters of shapes: B clips, T H W the grid, C channels; a prime marks the strided grid, H' = ceil(H / stride).
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from musclemap_jax.models.kernels.depthwise import Triple, strided_grid

LANES, ROWS = 128, 8
"""Size of the chip's tile of float32."""

VMEM_FRACTION = 0.875
"""Share of a chip's fast memory that a kernel may use."""


class Group(NamedTuple):
    """Channels that are convolved with one stride.

    Attributes:
      start: its first channel.
      stop: the channel behind its last one.
      strides: of time, height and width; time's must be 1.
    """

    start: int
    stop: int
    strides: Triple


class _Form(NamedTuple):
    """Static settings: the groups, the kernel's size, bytes of fast memory, None to run as JAX operations."""

    groups: tuple[Group, ...]
    size: Triple
    vmem_bytes: int | None


class _Piece(NamedTuple):
    """At most one tile's lanes of a group: index of the group, first lane in it and number of lanes."""

    group: int
    lane: int
    width: int


def grouped_depthwise(
    x: jax.Array, kernel: jax.Array, groups: tuple[Group, ...], vmem_bytes: int | None
) -> tuple[jax.Array, ...]:
    """Convolves every channel with its own kernel, zero padding kernel // 2, each group with its strides.

    Args:
      x: (B, T, H, W, C).
      kernel: (kt, kh, kw, C) of odd size.
      groups: of channels, which cover C.
      vmem_bytes: bytes that the chip has; None runs the kernels as JAX operations, on any platform (for tests).

    Returns:
      For each group (B, T, H', W', channels) in the dtype of x, accumulated in float32.
    """
    form = _Form(groups, kernel.shape[:3], vmem_bytes)
    return _conv(form, x, kernel.reshape(-1, kernel.shape[3]).astype(jnp.float32))


def fits(shape: tuple[int, ...], size: Triple, groups: tuple[Group, ...], vmem_bytes: int) -> bool:
    """Whether x of that shape (B, T, H, W, C) and its gradient can be convolved by the kernels."""
    if any(group.strides[0] != 1 for group in groups) or size[2] // 2 > ROWS:
        return False
    rings = 2 * sum(math.prod(_ring(shape, size)) for _ in _pieces(groups)) * 4
    frame = _up(shape[3], 2 * ROWS) * shape[2] * _up(shape[4], LANES) * 2
    # The frame and both gradients, each in two copies so that memory works while the chip computes.
    return rings + 6 * frame <= VMEM_FRACTION * vmem_bytes


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _pieces(groups: tuple[Group, ...]) -> list[_Piece]:
    return [
        _Piece(index, lane, min(LANES, group.stop - group.start - lane))
        for index, group in enumerate(groups)
        for lane in range(0, group.stop - group.start, LANES)
    ]


def _ring(shape: tuple[int, ...], size: Triple) -> tuple[int, ...]:
    """Frames, rows, columns and lanes of a piece's ring, with its border."""
    return (size[0], shape[2] + size[1] - 1, _up(shape[3], ROWS) + 2 * ROWS, LANES)


def _columns(count: int, stride: int, shift: int) -> pl.Slice:
    return pl.ds(ROWS + shift, count) if stride == 1 else pl.ds(ROWS + shift, count, stride=stride)


def _clear(ring) -> None:
    def row(index: jax.Array, _: None) -> None:
        for frame in range(ring.shape[0]):
            ring[frame, index] = jnp.zeros(ring.shape[2:], ring.dtype)

    lax.fori_loop(0, ring.shape[1], row, None)


def _store(ring, slot, frame_ref, lanes: slice, strides: Triple, border: int, valid: jax.Array) -> None:
    """Writes a frame's lanes into the ring, spread by the strides; zeros where it is not valid."""

    def row(index: jax.Array, _: None) -> None:
        values = frame_ref[0, 0, index, :, lanes].astype(jnp.float32) * valid
        if values.shape[1] < LANES:
            values = jnp.concatenate([values, jnp.zeros((values.shape[0], LANES - values.shape[1]))], axis=1)
        ring[slot, border + index * strides[1], _columns(values.shape[0], strides[2], 0), :] = values

    lax.fori_loop(0, frame_ref.shape[2], row, None)


def _taps(size: Triple) -> list[tuple[int, Triple]]:
    return list(enumerate(itertools.product(*map(range, size))))


def _forward_kernel(form: _Form, x_ref, *refs) -> None:
    pieces, size = _pieces(form.groups), form.size
    weights, (outs, rings) = refs[: len(pieces)], _cut(refs[len(pieces) :], len(form.groups))
    step, reach = pl.program_id(1), size[0] // 2
    valid = (step < pl.num_programs(1) - reach).astype(jnp.float32)

    @pl.when(step == 0)
    def _start() -> None:
        for ring in rings:
            _clear(ring)

    for piece, ring in zip(pieces, rings, strict=True):
        first = form.groups[piece.group].start + piece.lane
        _store(ring, step % size[0], x_ref, slice(first, first + piece.width), (1, 1, 1), size[1] // 2, valid)

    def convolve(piece: _Piece, ring, weight_ref) -> None:
        strides, out_ref = form.groups[piece.group].strides, outs[piece.group]

        def row(index: jax.Array, _: None) -> None:
            total = jnp.zeros((out_ref.shape[3], LANES), jnp.float32)
            for tap, (t, h, w) in _taps(size):
                columns = _columns(out_ref.shape[3], strides[2], w - size[2] // 2)
                window = ring[(step + 1 + t) % size[0], index * strides[1] + h, columns, :]
                total += window * weight_ref[tap : tap + 1, :]
            out_ref[0, 0, index, :, piece.lane : piece.lane + piece.width] = total[:, : piece.width].astype(
                out_ref.dtype
            )

        lax.fori_loop(0, out_ref.shape[2], row, None)

    @pl.when(step >= reach)
    def _output() -> None:
        for arguments in zip(pieces, rings, weights, strict=True):
            convolve(*arguments)


def _backward_kernel(form: _Form, x_ref, *refs) -> None:
    pieces, size = _pieces(form.groups), form.size
    weights, (gradients, (dx_ref,), d_weights, rings) = (
        refs[: len(pieces)],
        _cut(refs[len(pieces) :], len(form.groups), 1, len(pieces)),
    )
    rings, spread = rings[: len(pieces)], rings[len(pieces) :]
    step, reach, border = pl.program_id(1), size[0] // 2, size[1] // 2
    valid = (step < pl.num_programs(1) - reach).astype(jnp.float32)

    @pl.when(step == 0)
    def _start() -> None:
        for ring in (*rings, *spread):
            _clear(ring)
        for d_weight in d_weights:
            d_weight[...] = jnp.zeros_like(d_weight)

    for piece, ring, d_ring in zip(pieces, rings, spread, strict=True):
        group = form.groups[piece.group]
        first = group.start + piece.lane
        _store(ring, step % size[0], x_ref, slice(first, first + piece.width), (1, 1, 1), border, valid)
        lanes = slice(piece.lane, piece.lane + piece.width)
        _store(d_ring, step % size[0], gradients[piece.group], lanes, group.strides, border, valid)

    @pl.when(step >= reach)
    def _output() -> None:
        for piece, ring, d_ring, weight_ref, d_weight in zip(pieces, rings, spread, weights, d_weights, strict=True):
            _send_back(form, step, piece, d_ring, weight_ref, dx_ref)
            _sum_weights(form, step, piece, ring, d_ring, gradients[piece.group].shape, d_weight)


def _send_back(form: _Form, step, piece: _Piece, d_ring, weight_ref, dx_ref) -> None:
    """The input's gradient at the middle frame of the ring."""
    size, first = form.size, form.groups[piece.group].start + piece.lane

    def row(index: jax.Array, _: None) -> None:
        total = jnp.zeros((dx_ref.shape[3], LANES), jnp.float32)
        for tap, (t, h, w) in _taps(size):
            columns = _columns(dx_ref.shape[3], 1, size[2] // 2 - w)
            window = d_ring[(step + size[0] - t) % size[0], index + size[1] - 1 - h, columns, :]
            total += window * weight_ref[tap : tap + 1, :]
        dx_ref[0, 0, index, :, first : first + piece.width] = total[:, : piece.width].astype(dx_ref.dtype)

    lax.fori_loop(0, dx_ref.shape[2], row, None)


def _sum_weights(form: _Form, step, piece: _Piece, ring, d_ring, shape: tuple[int, ...], d_weight) -> None:
    """Adds the middle frame's share of the kernel's gradient."""
    size, strides = form.size, form.groups[piece.group].strides

    def row(index: jax.Array, _: None) -> None:
        gradient = d_ring[
            (step + size[0] - size[0] // 2) % size[0],
            size[1] // 2 + index * strides[1],
            _columns(shape[3], strides[2], 0),
            :,
        ]
        for tap, (t, h, w) in _taps(size):
            columns = _columns(shape[3], strides[2], w - size[2] // 2)
            window = ring[(step + 1 + t) % size[0], index * strides[1] + h, columns, :]
            d_weight[0, tap : tap + 1, :] += jnp.sum(window * gradient, axis=0, keepdims=True)

    lax.fori_loop(0, shape[2], row, None)


def _cut(refs, *counts: int) -> list:
    """Takes a sequence apart: so many each, then the rest."""
    parts, place = [], 0
    for count in counts:
        parts.append(refs[place : place + count])
        place += count
    return [*parts, refs[place:]]


def _padded_weights(form: _Form, kernel: jax.Array) -> list[jax.Array]:
    """The kernel's taps of each piece, (taps, LANES)."""
    cuts = []
    for piece in _pieces(form.groups):
        first = form.groups[piece.group].start + piece.lane
        cuts.append(jnp.pad(kernel[:, first : first + piece.width], ((0, 0), (0, LANES - piece.width))))
    return cuts


def _call(form: _Form, kernel, x: jax.Array, weights: list[jax.Array], gradients, outputs: list) -> list[jax.Array]:
    """Runs a kernel over clips and frames; frame t comes out when frame t + kt // 2 has been read."""
    num_clips, num_frames = x.shape[:2]
    reach, num_rings = form.size[0] // 2, len(_pieces(form.groups)) * (2 if gradients else 1)

    def frames(shape: tuple[int, ...], read: bool) -> pl.BlockSpec:
        def index(clip, step):
            frame = jnp.minimum(step, num_frames - 1) if read else jnp.maximum(step - reach, 0)
            return (clip, frame, 0, 0, 0)

        return pl.BlockSpec((1, 1, *shape[2:]), index)

    weight_spec = pl.BlockSpec(weights[0].shape, lambda clip, step: (0, 0))
    clip_spec = pl.BlockSpec((1, *weights[0].shape), lambda clip, step: (clip, 0, 0))
    operands = [x, *weights, *gradients]
    products = 2 if gradients else 1
    cost = pl.CostEstimate(
        flops=2 * products * _multiply_adds(form, x.shape),
        transcendentals=0,
        bytes_accessed=sum(math.prod(a.shape) * a.dtype.itemsize for a in (*operands, *outputs)),
    )
    return pl.pallas_call(
        functools.partial(kernel, form),
        grid=(num_clips, num_frames + reach),
        in_specs=[
            frames(x.shape, True),
            *[weight_spec] * len(weights),
            *(frames(gradient.shape, True) for gradient in gradients),
        ],
        out_specs=[frames(out.shape, False) if len(out.shape) == 5 else clip_spec for out in outputs],
        out_shape=outputs,
        scratch_shapes=[pltpu.VMEM(_ring(x.shape, form.size), jnp.float32)] * num_rings,
        cost_estimate=cost,
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=int(VMEM_FRACTION * (form.vmem_bytes or 0))),
        interpret=form.vmem_bytes is None,
    )(*operands)


def _multiply_adds(form: _Form, shape: tuple[int, ...]) -> int:
    """Of a pass over all groups."""
    outputs = (math.prod(out) for out in _output_shapes(form, shape))
    return math.prod(form.size) * sum(outputs)


def _output_shapes(form: _Form, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(shape[0], *strided_grid(shape[1:4], group.strides), group.stop - group.start) for group in form.groups]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(form, x, kernel):
    outputs = [jax.ShapeDtypeStruct(shape, x.dtype) for shape in _output_shapes(form, x.shape)]
    return tuple(_call(form, _forward_kernel, x, _padded_weights(form, kernel), [], outputs))


def _conv_forward(form, x, kernel):
    return _conv(form, x, kernel), (x, kernel)


def _conv_backward(form, saved, gradients):
    x, kernel = saved
    weights = _padded_weights(form, kernel)
    of_weights = jax.ShapeDtypeStruct((x.shape[0], *weights[0].shape), jnp.float32)
    outputs = [jax.ShapeDtypeStruct(x.shape, x.dtype), *[of_weights] * len(weights)]
    dx, *d_weights = _call(form, _backward_kernel, x, weights, list(gradients), outputs)
    pieces = _pieces(form.groups)
    d_kernel = [d_weight[..., : piece.width].sum(0) for piece, d_weight in zip(pieces, d_weights, strict=True)]
    return dx, jnp.concatenate(d_kernel, axis=-1)


_conv.defvjp(_conv_forward, _conv_backward)
