"""Patch embedding: a strided convolution from colours to the first width.

Source: MViTv2 (arXiv:2112.01526) as in PySlowFast's `slowfast/models/stem_helper.py`. XLA:CPU's convolution of three
colours is slower than its products (MViTv2-S, one busy core: 2.2 times forward, 4.3 times for the kernel's gradient),
so there the windows are laid out as rows of one matrix product. Elsewhere the library's convolution is used (on a mesh
of TPUs with packed pixels, space_to_depth_conv.py); the choice is made at lowering.

Letters of shapes: B clips, T H W frames and pixels, C colours, D width; a prime marks the grid of patches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from musclemap_jax.models.kernels.depthwise import Triple, strided_grid
from musclemap_jax.models.kernels.space_to_depth_conv import space_to_depth_conv
from musclemap_jax.models.layers.layers import WEIGHT_INIT
from musclemap_jax.sharding.context import kernels_for_tpu


class PatchEmbed(nn.Module):
    """Overlapping space-time patches: (B, T, H, W, C) -> (B, T', H', W', D); zero padding kernel // 2.

    Attributes:
      features: D.
      kernel: in frames and pixels; odd.
      stride: of the grid.
      dtype: of the computation.
      param_dtype: of the parameters.
    """

    features: int
    kernel: Triple
    stride: Triple
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, video: jax.Array) -> jax.Array:
        return PatchProjection(
            self.features, self.kernel, self.stride, dtype=self.dtype, param_dtype=self.param_dtype, name="proj"
        )(video)


class PatchProjection(nn.Module):
    """The embedding's parameters, `kernel` (kt, kh, kw, C, D) and `bias` (D,), and its product; as `PatchEmbed`."""

    features: int
    kernel: Triple
    stride: Triple
    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, video: jax.Array) -> jax.Array:
        shape = (*self.kernel, video.shape[-1], self.features)
        bound = 1.0 / math.sqrt(math.prod(shape[:-1]))  # PyTorch's own: PySlowFast leaves it

        def bias_init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        kernel = self.param("kernel", WEIGHT_INIT, shape, self.param_dtype).astype(self.dtype)
        bias = self.param("bias", bias_init, (self.features,), self.param_dtype).astype(self.dtype)
        convolve = space_to_depth_conv if kernels_for_tpu(video.shape[0]) else lax.conv_general_dilated
        patches = lax.platform_dependent(
            video.astype(self.dtype),
            kernel,
            cpu=functools.partial(convolve_by_product, stride=self.stride),
            default=functools.partial(convolve_by_library, stride=self.stride, convolve=convolve),
        )
        return patches + bias.reshape(1, 1, 1, 1, -1)


def convolve_by_library(
    video: jax.Array,
    kernel: jax.Array,
    *,
    stride: Triple,
    convolve: Callable[..., jax.Array] = lax.conv_general_dilated,
) -> jax.Array:
    """(B, T, H, W, C), (kt, kh, kw, C, D) -> (B, T', H', W', D); zero padding size // 2 on both sides."""
    return convolve(
        video,
        kernel,
        stride,
        [(size // 2, size // 2) for size in kernel.shape[:3]],
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )


def convolve_by_product(video: jax.Array, kernel: jax.Array, *, stride: Triple) -> jax.Array:
    """The same as one product of a matrix with a row for every window."""
    size, grid = kernel.shape[:3], strided_grid(video.shape[1:4], stride)
    pieces = -(-size[2] // stride[2])  # of a row of pixels that a window spans, each one stride wide
    reach = (
        stride[0] * (grid[0] - 1) + size[0],
        stride[1] * (grid[1] - 1) + size[1],
        stride[2] * (grid[2] - 1 + pieces),
    )
    before = [length // 2 for length in size]
    # An extent beyond the last window, where the stride is larger than the kernel, is cut off.
    after = [r - b - length for r, b, length in zip(reach, before, video.shape[1:4], strict=True)]
    edges = [(0, 0, 0), *[(b, a, 0) for b, a in zip(before, after, strict=True)], (0, 0, 0)]
    rows = lax.pad(video, jnp.zeros((), video.dtype), edges)
    rows = rows.reshape(*rows.shape[:3], -1, stride[2] * video.shape[-1])
    # Whole pieces are copied, not pixels: what is copied lies together in memory.
    widths = [min(stride[2], size[2] - stride[2] * piece) * video.shape[-1] for piece in range(pieces)]
    rows = jnp.concatenate(
        [rows[:, :, :, piece : piece + grid[2], :width] for piece, width in enumerate(widths)], axis=-1
    )
    windows = [
        rows[:, t : t + stride[0] * (grid[0] - 1) + 1 : stride[0], h : h + stride[1] * (grid[1] - 1) + 1 : stride[1]]
        for t in range(size[0])
        for h in range(size[1])
    ]
    windows = jnp.concatenate(windows, axis=-1)
    product = windows.reshape(-1, windows.shape[-1]) @ kernel.reshape(windows.shape[-1], -1)
    return product.reshape(*windows.shape[:4], -1)
