"""Strided convolution of few channels, such as colours, as one matrix product.

For platforms whose products are faster than their convolutions, which is XLA:CPU (patch_embed.py has numbers).

Letters of shapes: B clips, T H W frames and pixels, C colours, D width; 2 marks the strided grid.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.sliding_windows import Triple, pad_grid, strided_grid, tap_offsets, window_elements
from musclemap_jax.models.kernels.space_to_depth_conv import Padding


def conv_as_matmul(
    video: Float[Array, "B T H W C"],
    kernel: Float[Array, "kt kh kw C D"],
    strides: Triple,
    padding: Padding,
) -> Float[Array, "B T2 H2 W2 D"]:
    """Convolution as one product with a matrix that has a row for every window."""
    size, grid = kernel.shape[:3], strided_grid(video.shape[1:4], strides)
    num_pieces = -(-size[2] // strides[2])  # stride-wide pieces of a row of pixels that a window spans
    extent = (
        strides[0] * (grid[0] - 1) + size[0],
        strides[1] * (grid[1] - 1) + size[1],
        strides[2] * (grid[2] - 1 + num_pieces),
    )
    before = tuple(front for front, _ in padding)
    # Pixels beyond the last window, where the stride is larger than the kernel, are cropped.
    after = tuple(e - b - length for e, b, length in zip(extent, before, video.shape[1:4], strict=True))
    rows = pad_grid(video, before, after)
    rows = rows.reshape(*rows.shape[:3], -1, strides[2] * video.shape[-1])
    # Whole pieces are copied instead of pixels, so each copy is contiguous in memory.
    widths = [min(strides[2], size[2] - strides[2] * piece) * video.shape[-1] for piece in range(num_pieces)]
    rows = jnp.concatenate(
        [rows[:, :, :, piece : piece + grid[2], :width] for piece, width in enumerate(widths)], axis=-1
    )
    windows = jnp.concatenate(
        [window_elements(rows, tap, strides[:2], grid[:2]) for tap in tap_offsets(size[:2])], axis=-1
    )
    product = windows.reshape(-1, windows.shape[-1]) @ kernel.reshape(windows.shape[-1], -1)
    return product.reshape(*windows.shape[:4], -1)
