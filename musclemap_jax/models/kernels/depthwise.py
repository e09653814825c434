"""Window operations that keep channels apart: depthwise convolution and max pooling over time, height and width.

They carry MViTv2's pooling attention (arXiv:2112.01526) and its skip connection. XLA's grouped convolution is slow on
CPU (hundreds of times slower than the arithmetic needs, its gradient more so), so on CPU both operations are sums
over shifted copies with a VJP of their own: the input's gradient is computed phase by phase (an input element at
position s*m + r is touched by the taps r, r + s, ... alone) and the kernel's gradient tap by tap. On other platforms
the library's convolution and `reduce_window` are used. The choice is made at lowering, so compiling ahead for TPU on
a CPU machine picks the TPU form.

Letters of shapes: B clips, T H W the grid, C channels; a prime marks the strided grid, T' = ceil(T / stride).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from musclemap_jax.models.layers.layers import kept_whole

Triple = tuple[int, int, int]


def strided_grid(grid: Triple, strides: Triple) -> Triple:
    """Size of the grid after a window operation with padding kernel // 2: ceil(size / stride) on each axis."""
    return tuple(-(-size // stride) for size, stride in zip(grid, strides, strict=True))


def depthwise_conv3d(x: jax.Array, kernel: jax.Array, strides: Triple) -> jax.Array:
    """Convolves every channel with its own kernel; zero padding kernel // 2 on both sides, no bias.

    Args:
      x: (B, T, H, W, C) float32 or bfloat16.
      kernel: (kt, kh, kw, C) of odd size, same dtype as x. As everywhere in deep learning it is not reversed
        (cross-correlation).
      strides: of time, height, width; at least 1.

    Returns:
      (B, T', H', W', C) in the dtype of x, accumulated in float32.

    Raises:
      ValueError: a kernel of even size, channels or dtypes that differ, or a stride below 1.
    """
    size = kernel.shape[:3]
    if kernel.ndim != 4 or any(k % 2 == 0 for k in size):
        raise ValueError(f"expected a kernel (kt, kh, kw, C) of odd size, got {kernel.shape}")
    if x.ndim != 5 or x.shape[-1] != kernel.shape[-1] or x.dtype != kernel.dtype:
        raise ValueError(
            f"expected x (B, T, H, W, {kernel.shape[-1]}) of {kernel.dtype}, got {x.shape} of {x.dtype}: "
            "the kernel needs one channel for each of x, and the same dtype"
        )
    if min(strides) < 1:
        raise ValueError(f"expected strides of at least 1, got {strides}")
    return _conv(x, kernel, tuple(strides))


def max_pool3d(x: jax.Array, window: Triple, strides: Triple) -> jax.Array:
    """Largest value of each window, one channel at a time; windows begin at stride * i - window // 2.

    Outside the grid nothing counts. Where values tie, the first in row-major order gets the gradient, as in PyTorch.

    Args:
      x: (B, T, H, W, C) float32 or bfloat16.
      window: size of the window on each axis, even or odd.
      strides: of time, height, width; at least 1.

    Returns:
      (B, T', H', W', C) in the dtype of x.
    """
    return _max_pool(x, tuple(window), tuple(strides))


# Windows and phases


def _windows(x: jax.Array, tap: Triple, strides: Triple, grid: Triple) -> jax.Array:
    """The elements of a padded x that one tap of the kernel meets: (B, *grid, C)."""
    cuts = [slice(t, t + s * (n - 1) + 1, s) for t, s, n in zip(tap, strides, grid, strict=True)]
    return x[(slice(None), *cuts)]


def _pad_grid(x: jax.Array, before: Triple, after: Triple, value: float = 0.0) -> jax.Array:
    edges = [(0, 0, 0), *[(b, a, 0) for b, a in zip(before, after, strict=True)], (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), edges)


def _padded_for(x: jax.Array, size: Triple, strides: Triple, value: float = 0.0) -> jax.Array:
    """x with size // 2 in front and as much behind as the last window reaches."""
    before = tuple(k // 2 for k in size)
    grid = strided_grid(x.shape[1:4], strides)
    axes = zip(strides, grid, size, before, x.shape[1:4], strict=True)
    after = tuple(max(0, s * (n - 1) + k - b - length) for s, n, k, b, length in axes)
    return _pad_grid(x, before, after, value)


def _margins(size: Triple, strides: Triple) -> Triple:
    """How many strides lie between the first and the last window that an element is in."""
    return tuple((k - 1) // s for k, s in zip(size, strides, strict=True))


def _taps(size: Triple) -> list[Triple]:
    return list(itertools.product(*map(range, size)))


def _spread(
    part: Callable[[Triple, tuple[slice, ...]], jax.Array], size: Triple, strides: Triple, grid: Triple
) -> jax.Array:
    """Adds what each tap sends back to the elements of its windows: the transpose of `_windows` over all taps.

    Args:
      part: (tap, cuts) -> (B, M_t, M_h, M_w, C): what the tap sends back, cut by `cuts` out of arrays over the
        strided grid that are padded with (size - 1) // stride zeros on all sides.
      size: of the kernel.
      strides: of the windows.
      grid: (T, H, W) of the result.

    Returns:
      (B, T, H, W, C) float32.
    """
    margin = _margins(size, strides)
    length = tuple(n + m for n, m in zip(strided_grid(grid, strides), margin, strict=True))
    phases = tuple(min(k, s) for k, s in zip(size, strides, strict=True))

    def phase(first: Triple) -> jax.Array:
        steps = [range((k - 1 - r) // s + 1) for k, r, s in zip(size, first, strides, strict=True)]
        sent = []
        for step in itertools.product(*steps):
            tap = tuple(r + s * a for r, s, a in zip(first, strides, step, strict=True))
            cuts = tuple(slice(m - a, m - a + n) for m, a, n in zip(margin, step, length, strict=True))
            sent.append(part(tap, (slice(None), *cuts)))
        return functools.reduce(jnp.add, sent)

    def interleave(axis: int, first: tuple[int, ...]) -> jax.Array:
        if axis == 3:
            return phase(first)
        y = jnp.stack([interleave(axis + 1, (*first, r)) for r in range(phases[axis])], axis=axis + 2)
        if strides[axis] > phases[axis]:  # input elements that no window meets
            edges = [(0, 0)] * y.ndim
            edges[axis + 2] = (0, strides[axis] - phases[axis])
            y = jnp.pad(y, edges)
        return y

    y = phase((0, 0, 0)) if phases == (1, 1, 1) == tuple(strides) else interleave(0, ())
    y = y.reshape(y.shape[0], *(n * s for n, s in zip(length, strides, strict=True)), y.shape[-1])
    start = tuple(k // 2 for k in size)
    short = tuple(max(0, b + n - have) for b, n, have in zip(start, grid, y.shape[1:4], strict=True))
    y = _pad_grid(y, (0, 0, 0), short)
    return _windows(y, start, (1, 1, 1), grid)


# Depthwise convolution


def _weight(kernel: jax.Array, tap: Triple) -> jax.Array:
    """One tap of the kernel, (1, 1, 1, 1, C) float32."""
    return kernel[tap].astype(jnp.float32)[None, None, None, None, :]


def _conv_by_shifts(x: jax.Array, kernel: jax.Array, *, strides: Triple) -> jax.Array:
    size, grid = kernel.shape[:3], strided_grid(x.shape[1:4], strides)
    padded = _padded_for(x, size, strides)
    products = [_windows(padded, tap, strides, grid).astype(jnp.float32) * _weight(kernel, tap) for tap in _taps(size)]
    return kept_whole(functools.reduce(jnp.add, products)).astype(x.dtype)


def _conv_by_library(x: jax.Array, kernel: jax.Array, *, strides: Triple) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel[:, :, :, None, :],
        strides,
        [(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=x.shape[-1],
    )


def _conv_gradients_by_shifts(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, *, strides: Triple
) -> tuple[jax.Array, jax.Array]:
    size = kernel.shape[:3]
    margin = _margins(size, strides)
    padded_dy = _pad_grid(dy, margin, margin)

    def part(tap: Triple, cuts: tuple[slice, ...]) -> jax.Array:
        return padded_dy[cuts].astype(jnp.float32) * _weight(kernel, tap)

    dx = kept_whole(_spread(part, size, strides, x.shape[1:4])).astype(x.dtype)
    return dx, _kernel_gradient(_padded_for(x, size, strides), dy, size, strides).astype(kernel.dtype)


def _kernel_gradient(padded: jax.Array, dy: jax.Array, size: Triple, strides: Triple) -> jax.Array:
    """Sum over clips and grid of each tap's window times dy: (kt, kh, kw, C) float32.

    A loop over the taps: unrolled, XLA:CPU compiles each reduction apart and runs it about five times slower.
    """
    extent = tuple(s * (n - 1) + 1 for s, n in zip(strides, dy.shape[1:4], strict=True))
    dy = dy.astype(jnp.float32)

    def tap(offset: jax.Array) -> jax.Array:
        start = (0, offset[0], offset[1], offset[2], 0)
        window = lax.dynamic_slice(padded, start, (padded.shape[0], *extent, padded.shape[-1]))
        window = _windows(window, (0, 0, 0), strides, dy.shape[1:4])
        return jnp.sum(window.astype(jnp.float32) * dy, axis=(0, 1, 2, 3))

    gradient = lax.map(tap, jnp.asarray(_taps(size), jnp.int32))
    return gradient.reshape(*size, padded.shape[-1])


def _conv_gradients_by_library(
    x: jax.Array, kernel: jax.Array, dy: jax.Array, *, strides: Triple
) -> tuple[jax.Array, jax.Array]:
    _, transpose = jax.vjp(functools.partial(_conv_by_library, strides=strides), x, kernel)
    return transpose(dy)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, strides: Triple) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_conv_by_shifts, strides=strides),
        default=functools.partial(_conv_by_library, strides=strides),
    )


def _conv_forward(x, kernel, strides):
    return _conv(x, kernel, strides), (x, kernel)


def _conv_backward(strides, saved, dy):
    return lax.platform_dependent(
        *saved,
        dy,
        cpu=functools.partial(_conv_gradients_by_shifts, strides=strides),
        default=functools.partial(_conv_gradients_by_library, strides=strides),
    )


_conv.defvjp(_conv_forward, _conv_backward)


# Max pooling


def _max_by_shifts(x: jax.Array, *, window: Triple, strides: Triple) -> jax.Array:
    grid = strided_grid(x.shape[1:4], strides)
    padded = _padded_for(x, window, strides, -jnp.inf)
    return functools.reduce(jnp.maximum, [_windows(padded, tap, strides, grid) for tap in _taps(window)])


def _max_by_library(x: jax.Array, *, window: Triple, strides: Triple) -> jax.Array:
    grid = strided_grid(x.shape[1:4], strides)
    padded = _padded_for(x, window, strides, -jnp.inf)
    y = lax.reduce_window(padded, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), "VALID")
    return _windows(y, (0, 0, 0), (1, 1, 1), grid)


def _max_gradient_by_shifts(x: jax.Array, y: jax.Array, dy: jax.Array, *, window: Triple, strides: Triple):
    grid, taps = y.shape[1:4], _taps(window)
    padded = _padded_for(x, window, strides, -jnp.inf)
    chosen = jnp.full(y.shape, -1, jnp.int32)
    for index in reversed(range(len(taps))):  # the first of several equal ones is written last
        chosen = jnp.where(_windows(padded, taps[index], strides, grid) == y, index, chosen)
    margin = _margins(window, strides)
    padded_dy, padded_chosen = _pad_grid(dy, margin, margin), _pad_grid(chosen, margin, margin, -1)

    def part(tap: Triple, cuts: tuple[slice, ...]) -> jax.Array:
        return jnp.where(padded_chosen[cuts] == taps.index(tap), padded_dy[cuts].astype(jnp.float32), 0.0)

    return _spread(part, window, strides, x.shape[1:4]).astype(x.dtype)


def _max_gradient_by_library(x: jax.Array, y: jax.Array, dy: jax.Array, *, window: Triple, strides: Triple):
    del y
    return jax.vjp(functools.partial(_max_by_library, window=window, strides=strides), x)[1](dy)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x: jax.Array, window: Triple, strides: Triple) -> jax.Array:
    return lax.platform_dependent(
        x,
        cpu=functools.partial(_max_by_shifts, window=window, strides=strides),
        default=functools.partial(_max_by_library, window=window, strides=strides),
    )


def _max_forward(x, window, strides):
    y = _max_pool(x, window, strides)
    return y, (x, y)


def _max_backward(window, strides, saved, dy):
    gradient = lax.platform_dependent(
        *saved,
        dy,
        cpu=functools.partial(_max_gradient_by_shifts, window=window, strides=strides),
        default=functools.partial(_max_gradient_by_library, window=window, strides=strides),
    )
    return (gradient,)


_max_pool.defvjp(_max_forward, _max_backward)
