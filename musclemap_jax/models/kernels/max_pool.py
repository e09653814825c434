"""Max pooling over time, height and width, for the skip connection of MViTv2's pooling attention (arXiv:2112.01526).

As in depthwise_conv.py, it is computed from shifted copies on CPU, with a custom VJP, and by XLA's `reduce_window` on
other platforms.

Letters of shapes: B clips, T H W the grid, C channels; 2 marks the strided grid, T2 = ceil(T / stride).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

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


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool3d(x: Float[Array, "B T H W C"], window: Triple, strides: Triple) -> Float[Array, "B T2 H2 W2 C"]:
    """Largest value of each window, one channel at a time; windows begin at stride * i - window // 2.

    Elements outside the grid are ignored. The first of tied values in row-major order gets the gradient, as in PyTorch.
    The window may be even or odd, strides are at least 1, and x is float32 or bfloat16.
    """
    return by_platform(_max_pool_cpu, _max_pool_xla, x, window=window, strides=strides)


def _max_pool_cpu(x: jax.Array, window: Axes, strides: Axes) -> jax.Array:
    grid = strided_grid(x.shape[1:4], strides)
    padded = pad_for_windows(x, window, strides, -jnp.inf)
    return functools.reduce(jnp.maximum, [window_elements(padded, tap, strides, grid) for tap in tap_offsets(window)])


def _max_pool_xla(x: jax.Array, window: Axes, strides: Axes) -> jax.Array:
    grid = strided_grid(x.shape[1:4], strides)
    padded = pad_for_windows(x, window, strides, -jnp.inf)
    y = lax.reduce_window(padded, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), "VALID")
    return window_elements(y, (0, 0, 0), (1, 1, 1), grid)


def _gradient_cpu(x: jax.Array, y: jax.Array, dy: jax.Array, window: Axes, strides: Axes) -> jax.Array:
    grid, taps = y.shape[1:4], tap_offsets(window)
    padded = pad_for_windows(x, window, strides, -jnp.inf)
    chosen = jnp.full(y.shape, -1, jnp.int32)
    for index in reversed(range(len(taps))):  # the first of tied values is written last
        chosen = jnp.where(window_elements(padded, taps[index], strides, grid) == y, index, chosen)
    margin = window_margins(window, strides)
    padded_dy, padded_chosen = pad_grid(dy, margin, margin), pad_grid(chosen, margin, margin, -1)

    def contribution(tap: Axes, slices: tuple[slice, ...]) -> jax.Array:
        return jnp.where(padded_chosen[slices] == taps.index(tap), padded_dy[slices].astype(jnp.float32), 0.0)

    return sum_over_windows(contribution, window, strides, x.shape[1:4]).astype(x.dtype)


def _gradient_xla(x: jax.Array, y: jax.Array, dy: jax.Array, window: Axes, strides: Axes) -> jax.Array:
    return jax.vjp(functools.partial(_max_pool_xla, window=window, strides=strides), x)[1](dy)[0]


def _max_pool_forward(x, window, strides):
    y = max_pool3d(x, window, strides)
    return y, (x, y)


def _max_pool_backward(window, strides, residuals, dy):
    return (by_platform(_gradient_cpu, _gradient_xla, *residuals, dy, window=window, strides=strides),)


max_pool3d.defvjp(_max_pool_forward, _max_pool_backward)
