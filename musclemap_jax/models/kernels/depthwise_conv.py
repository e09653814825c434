"""Depthwise convolution over time, height and width, for the pooling attention of MViTv2 (arXiv:2112.01526).

XLA's grouped convolution is slow on CPU (hundreds of times slower than the arithmetic needs, its gradient more so), so
on CPU it is a sum over shifted copies with a custom VJP: the input's gradient is computed phase by phase
(`sum_over_windows`) and the kernel's gradient tap by tap. On other platforms XLA's convolution is used. The choice is
made at lowering, so compiling ahead for TPU on a CPU machine picks the TPU form.

Letters of shapes: B clips, T H W the grid, C channels; 2 marks the strided grid, T2 = ceil(T / stride).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.fusion_barrier import fusion_barrier
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


def depthwise_conv3d(
    x: Float[Array, "B T H W C"], kernel: Float[Array, "kt kh kw C"], strides: Triple
) -> Float[Array, "B T2 H2 W2 C"]:
    """Convolves every channel with its own kernel; zero padding kernel // 2 on both sides, no bias.

    Args:
      x: float32 or bfloat16; the result has its dtype, accumulated in float32.
      kernel: Of odd size and x's dtype. As everywhere in deep learning it is not reversed (cross-correlation).
      strides: Strides of time, height and width; at least 1.

    Raises:
      ValueError: The kernel has an even size, channels or dtypes differ, or a stride is below 1.
    """
    if kernel.ndim != 4 or any(size % 2 == 0 for size in kernel.shape[:3]):
        raise ValueError(f"expected a kernel (kt, kh, kw, C) of odd size, got {kernel.shape}")
    if x.shape[-1] != kernel.shape[-1] or x.dtype != kernel.dtype:
        raise ValueError(
            f"expected x and kernel of equal channels and dtype, got {x.shape} of {x.dtype} and {kernel.shape} of "
            f"{kernel.dtype}"
        )
    if min(strides) < 1:
        raise ValueError(f"expected strides of at least 1, got {strides}")
    return _conv(x, kernel, tuple(strides))


def _tap_weight(kernel: jax.Array, tap: Axes) -> jax.Array:
    """One tap of the kernel, (1, 1, 1, 1, C) float32."""
    return kernel[tap].astype(jnp.float32)[None, None, None, None, :]


def _conv_cpu(x: jax.Array, kernel: jax.Array, strides: Axes) -> jax.Array:
    size, grid = kernel.shape[:3], strided_grid(x.shape[1:4], strides)
    padded = pad_for_windows(x, size, strides)
    products = [
        window_elements(padded, tap, strides, grid).astype(jnp.float32) * _tap_weight(kernel, tap)
        for tap in tap_offsets(size)
    ]
    return fusion_barrier(functools.reduce(jnp.add, products)).astype(x.dtype)


def _conv_xla(x: jax.Array, kernel: jax.Array, strides: Axes) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel[:, :, :, None, :],
        strides,
        [(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=x.shape[-1],
    )


def _gradients_cpu(x: jax.Array, kernel: jax.Array, dy: jax.Array, strides: Axes) -> tuple[jax.Array, jax.Array]:
    size = kernel.shape[:3]
    margin = window_margins(size, strides)
    padded_dy = pad_grid(dy, margin, margin)

    def contribution(tap: Axes, slices: tuple[slice, ...]) -> jax.Array:
        return padded_dy[slices].astype(jnp.float32) * _tap_weight(kernel, tap)

    dx = fusion_barrier(sum_over_windows(contribution, size, strides, x.shape[1:4])).astype(x.dtype)
    return dx, _kernel_gradient_cpu(pad_for_windows(x, size, strides), dy, size, strides).astype(kernel.dtype)


def _kernel_gradient_cpu(padded: jax.Array, dy: jax.Array, size: Axes, strides: Axes) -> jax.Array:
    """Sum over clips and grid of each tap's window times dy: (kt, kh, kw, C) float32.

    A loop over the taps: unrolled, XLA:CPU compiles each reduction separately and runs it about five times slower.
    """
    extent = tuple(s * (n - 1) + 1 for s, n in zip(strides, dy.shape[1:4], strict=True))
    dy = dy.astype(jnp.float32)

    def tap_gradient(offset: jax.Array) -> jax.Array:
        start = (0, offset[0], offset[1], offset[2], 0)
        window = lax.dynamic_slice(padded, start, (padded.shape[0], *extent, padded.shape[-1]))
        window = window_elements(window, (0, 0, 0), strides, dy.shape[1:4])
        return jnp.sum(window.astype(jnp.float32) * dy, axis=(0, 1, 2, 3))

    gradient = lax.map(tap_gradient, jnp.asarray(tap_offsets(size), jnp.int32))
    return gradient.reshape(*size, padded.shape[-1])


def _gradients_xla(x: jax.Array, kernel: jax.Array, dy: jax.Array, strides: Axes) -> tuple[jax.Array, jax.Array]:
    return jax.vjp(functools.partial(_conv_xla, strides=strides), x, kernel)[1](dy)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, strides: Axes) -> jax.Array:
    return by_platform(_conv_cpu, _conv_xla, x, kernel, strides=strides)


def _conv_backward(strides, residuals, dy):
    return by_platform(_gradients_cpu, _gradients_xla, *residuals, dy, strides=strides)


_conv.defvjp(lambda x, kernel, strides: (_conv(x, kernel, strides), (x, kernel)), _conv_backward)
