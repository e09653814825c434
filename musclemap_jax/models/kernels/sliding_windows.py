"""Strided windows over time, height and width: the shapes, slices and transposes of convolution and pooling.

Letters of shapes: B clips, T H W the grid, C channels; 2 marks the strided grid, T2 = ceil(T / stride).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Triple = tuple[int, int, int]
"""Time, height and width."""

Axes = tuple[int, ...]
"""The same, where it is computed axis by axis."""


def by_platform(on_cpu: Callable, elsewhere: Callable, *arrays: jax.Array, **settings: Axes) -> Any:
    """Calls one of two functions of the same arrays and settings; the platform decides when the program is lowered."""
    cpu, default = (functools.partial(function, **settings) for function in (on_cpu, elsewhere))
    return lax.platform_dependent(*arrays, cpu=cpu, default=default)


def strided_grid(grid: Axes, strides: Axes) -> Triple:
    """Size of the grid after a window operation with padding kernel // 2: ceil(size / stride) on each axis."""
    time, height, width = (-(-size // stride) for size, stride in zip(grid, strides, strict=True))
    return time, height, width


def tap_offsets(size: Axes) -> list[Axes]:
    """Positions of a kernel's taps in row-major order."""
    return list(itertools.product(*map(range, size)))


def window_elements(x: jax.Array, tap: Axes, strides: Axes, grid: Axes) -> jax.Array:
    """The elements of a padded x (B, ..., C) that one tap of the kernel meets: (B, *grid, C)."""
    slices = [slice(t, t + s * (n - 1) + 1, s) for t, s, n in zip(tap, strides, grid, strict=True)]
    return x[(slice(None), *slices)]


def pad_grid(x: jax.Array, before: Axes, after: Axes, value: float = 0.0) -> jax.Array:
    """Pads the grid of x (B, T, H, W, C); a negative width crops."""
    widths = [(0, 0, 0), *[(b, a, 0) for b, a in zip(before, after, strict=True)], (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), widths)


def pad_for_windows(x: jax.Array, size: Axes, strides: Axes, value: float = 0.0) -> jax.Array:
    """Pads x (B, T, H, W, C) by size // 2 in front, and behind as far as the last window reaches."""
    before = tuple(k // 2 for k in size)
    grid = strided_grid(x.shape[1:4], strides)
    axes = zip(strides, grid, size, before, x.shape[1:4], strict=True)
    after = tuple(max(0, s * (n - 1) + k - b - length) for s, n, k, b, length in axes)
    return pad_grid(x, before, after, value)


def window_margins(size: Axes, strides: Axes) -> Axes:
    """How many strides lie between the first and the last window that contain an element."""
    return tuple((k - 1) // s for k, s in zip(size, strides, strict=True))


def sum_over_windows(
    contribution: Callable[[Axes, tuple[slice, ...]], jax.Array], size: Axes, strides: Axes, grid: Axes
) -> jax.Array:
    """Sums the taps' contributions to the elements of their windows: the transpose of `window_elements` over all taps.

    It is computed phase by phase: the element at position s * m + r is met only by the taps r, r + s, ...

    Args:
      contribution: (tap, slices) -> (B, M_t, M_h, M_w, C): the tap's contribution, where `slices` index arrays over the
        strided grid that are padded with `window_margins` zeros on all sides.
      size: Size of the kernel.
      strides: Strides of the windows.
      grid: (T, H, W) of the float32 result (B, T, H, W, C).
    """
    margin = window_margins(size, strides)
    length = tuple(n + m for n, m in zip(strided_grid(grid, strides), margin, strict=True))
    num_phases = tuple(min(k, s) for k, s in zip(size, strides, strict=True))

    def phase(first: Axes) -> jax.Array:
        terms = []
        for step in tap_offsets(tuple((k - 1 - r) // s + 1 for k, r, s in zip(size, first, strides, strict=True))):
            tap = tuple(r + s * a for r, s, a in zip(first, strides, step, strict=True))
            slices = tuple(slice(m - a, m - a + n) for m, a, n in zip(margin, step, length, strict=True))
            terms.append(contribution(tap, (slice(None), *slices)))
        return functools.reduce(jnp.add, terms)

    def interleave(axis: int, first: tuple[int, ...]) -> jax.Array:
        if axis == 3:
            return phase(first)
        y = jnp.stack([interleave(axis + 1, (*first, r)) for r in range(num_phases[axis])], axis=axis + 2)
        if strides[axis] > num_phases[axis]:  # elements that no window meets
            y = jnp.pad(y, [(0, strides[axis] - num_phases[axis] if at == axis + 2 else 0) for at in range(y.ndim)])
        return y

    y = phase((0, 0, 0)) if num_phases == (1, 1, 1) == tuple(strides) else interleave(0, ())
    y = y.reshape(y.shape[0], *(n * s for n, s in zip(length, strides, strict=True)), y.shape[-1])
    start = tuple(k // 2 for k in size)
    missing = tuple(max(0, b + n - have) for b, n, have in zip(start, grid, y.shape[1:4], strict=True))
    y = pad_grid(y, (0, 0, 0), missing)
    return window_elements(y, start, (1, 1, 1), grid)
