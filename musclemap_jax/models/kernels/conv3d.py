"""Convolution over time, height and width with symmetric padding, channels last.

XLA:CPU runs convolutions of three dimensions far below the speed of its matrix products, forward and for both
gradients. There, the pixels that a window covers become the rows of one product; the taps in time become further
columns of the same product, whose frames are shifted and added afterwards, so that no frame is copied more than once.
On other platforms it is XLA's convolution; the choice is made at lowering.

Letters of shapes: B clips, T H W the grid, C and D channels, k taps in time; 2 marks the strided grid.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.few_channels_conv import conv_as_matmul
from musclemap_jax.models.kernels.sliding_windows import (
    Axes,
    Triple,
    by_platform,
    pad_for_windows,
    pad_grid,
    strided_grid,
    sum_over_windows,
    tap_offsets,
    window_elements,
    window_margins,
)

FEW_CHANNELS = 4
"""Up to so many, pixels are copied in groups of a stride's width."""


def conv3d(
    x: Float[Array, "B T H W C"], kernel: Float[Array, "kt kh kw C D"], strides: Triple
) -> Float[Array, "B T2 H2 W2 D"]:
    """Convolves with zero padding of half the kernel on both sides; sizes are odd, T2 = ceil(T / stride)."""
    if kernel.shape[:3] == (1, 1, 1):
        x = window_elements(x, (0, 0, 0), strides, strided_grid(x.shape[1:4], strides))
        return _rows_matmul(x, kernel[0, 0, 0])
    return by_platform(_conv_cpu, _conv_xla, x, kernel, strides=strides)


def _conv_xla(x: jax.Array, kernel: jax.Array, strides: Axes) -> jax.Array:
    padding = [(size // 2, size // 2) for size in kernel.shape[:3]]
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))


def _conv_cpu(x: jax.Array, kernel: jax.Array, strides: Triple) -> jax.Array:
    num_taps, *_, features = kernel.shape
    if num_taps == 1 or strides[0] > 1:
        return _product(x, kernel, strides)
    by_tap = jnp.moveaxis(kernel, 0, 3)  # (kh, kw, C, k, D)
    by_tap = by_tap.reshape(1, *by_tap.shape[:3], num_taps * features)
    if by_tap.shape[:3] == (1, 1, 1) and strides == (1, 1, 1):
        product = _rows_matmul(x, by_tap[0, 0, 0])
    else:
        product = _product(x, by_tap, strides)
    return add_shifted_frames(product, num_taps)


def _product(x: jax.Array, kernel: jax.Array, strides: Triple) -> jax.Array:
    """The convolution as one product, by the form that copies least."""
    if x.shape[-1] > FEW_CHANNELS:
        return windows_matmul(x, kernel, strides)
    return conv_as_matmul(x, kernel, strides, [(size // 2, size // 2) for size in kernel.shape[:3]])


def _rows_matmul(x: jax.Array, matrix: jax.Array) -> jax.Array:
    return (x.reshape(-1, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], matrix.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def add_shifted_frames(x: Float[Array, "B T H W kD"], num_taps: int) -> Float[Array, "B T H W D"]:
    """Adds frame t + j - k // 2 of the j-th of k groups of channels, for every t; there is nothing beyond the ends."""
    reach, num_frames, features = num_taps // 2, x.shape[1], x.shape[-1] // num_taps
    groups = [x[..., tap * features : (tap + 1) * features] for tap in range(num_taps)]
    shifted = []
    for tap, group in enumerate(groups):
        offset = tap - reach
        widths = [(0, 0, 0), (-offset, offset, 0), *[(0, 0, 0)] * (x.ndim - 2)]
        # A frame more than the clip's away is padding alone.
        shifted.append(lax.pad(group, jnp.zeros((), x.dtype), widths) if abs(offset) < num_frames else group * 0)
    return functools.reduce(jnp.add, shifted)


def _add_shifted_backward(num_taps, _, dy):
    reach, num_frames = num_taps // 2, dy.shape[1]
    zero, shifted = jnp.zeros((), dy.dtype), []
    for tap in range(num_taps):
        offset = tap - reach
        widths = [(0, 0, 0), (offset, -offset, 0), *[(0, 0, 0)] * (dy.ndim - 2)]
        shifted.append(lax.pad(dy, zero, widths) if abs(offset) < num_frames else dy * 0)
    return (jnp.concatenate(shifted, axis=-1),)


add_shifted_frames.defvjp(lambda x, num_taps: (add_shifted_frames(x, num_taps), None), _add_shifted_backward)


def _windows(x: jax.Array, size: Axes, strides: Axes) -> jax.Array:
    """The elements of every window as rows: (B * T2 * H2 * W2, taps * C)."""
    grid, padded = strided_grid(x.shape[1:4], strides), pad_for_windows(x, size, strides)
    rows = jnp.concatenate([window_elements(padded, tap, strides, grid) for tap in tap_offsets(size)], axis=-1)
    return rows.reshape(-1, rows.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def windows_matmul(
    x: Float[Array, "B T H W C"], kernel: Float[Array, "kt kh kw C D"], strides: Triple
) -> Float[Array, "B T2 H2 W2 D"]:
    """Convolution as one product with a matrix that has a row for every window, which the gradient makes again."""
    rows = _windows(x, kernel.shape[:3], strides)
    product = rows @ kernel.reshape(rows.shape[1], -1)
    return product.reshape(x.shape[0], *strided_grid(x.shape[1:4], strides), kernel.shape[-1])


def _windows_backward(strides, operands, dy):
    x, kernel = operands
    size, features = kernel.shape[:3], kernel.shape[-1]
    d_rows = dy.reshape(-1, features)
    rows = _windows(x, size, strides)
    d_kernel = lax.dot_general(rows, d_rows, (((0,), (0,)), ((), ()))).reshape(kernel.shape)
    if math.prod(strides) == 1:  # the transpose of a convolution is one with the taps reversed
        reversed_taps = kernel[::-1, ::-1, ::-1].swapaxes(3, 4)
        return windows_matmul(dy, reversed_taps, strides), d_kernel
    d_windows = (d_rows @ kernel.reshape(-1, features).T).reshape(*dy.shape[:4], -1, kernel.shape[3])
    margin, taps = window_margins(size, strides), tap_offsets(size)

    def contribution(tap: Axes, slices: tuple[slice, ...]) -> jax.Array:
        return pad_grid(d_windows[..., taps.index(tap), :], margin, margin)[slices]

    return sum_over_windows(contribution, size, strides, x.shape[1:4]).astype(x.dtype), d_kernel


windows_matmul.defvjp(lambda x, kernel, strides: (windows_matmul(x, kernel, strides), (x, kernel)), _windows_backward)
