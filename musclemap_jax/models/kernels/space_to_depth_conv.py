"""Strided convolution of few channels, with the pixels of each stride moved into channels first.

A TPU keeps channels in tiles of 128: three colours waste almost all of a tile, and of the memory traffic. After space
to depth, a patch stride of 4 x 4 pixels has 48 channels, and the kernel covers whole strides, padded with zeros.

Letters of shapes: B clips, T H W frames and pixels, C colours, D width; 2 marks the strided grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Padding = Sequence[tuple[int, int]]
"""(before, after) of time, height and width."""


def space_to_depth_conv(
    video: Float[Array, "B T H W C"],
    kernel: Float[Array, "kt kh kw C D"],
    strides: Sequence[int],
    padding: Padding,
    **settings: Any,
) -> Float[Array, "B T2 H2 W2 D"]:
    """Replaces `lax.conv_general_dilated`, which gets the `settings`, for a video and a kernel that is not dilated."""
    sizes, factors = video.shape[2:4], (strides[1], strides[2])
    if any(size % factor for size, factor in zip(sizes, factors, strict=True)):
        return lax.conv_general_dilated(video, kernel, strides, padding, **settings)
    new_padding = list(padding[:1])
    kernel_padding = [(0, 0)]
    for size, factor, kernel_size, (before, after) in zip(sizes, factors, kernel.shape[1:3], padding[1:], strict=True):
        blocks_before = -(-before // factor)
        front = blocks_before * factor - before
        num_blocks = -(-(front + kernel_size) // factor)
        outputs = (size + before + after - kernel_size) // factor + 1
        kernel_padding.append((front, num_blocks * factor - front - kernel_size))
        new_padding.append((blocks_before, outputs - 1 + num_blocks - blocks_before - size // factor))
    kernel = _space_to_depth(jnp.pad(kernel, [*kernel_padding, (0, 0), (0, 0)]), 1, factors)
    video = _space_to_depth(video, 2, factors)
    return lax.conv_general_dilated(video, kernel, (strides[0], 1, 1), new_padding, **settings)


def _space_to_depth(x: jax.Array, rows: int, factors: tuple[int, int]) -> jax.Array:
    """Moves the pixels of each block into channels; rows, columns and channels of x are axes rows, +1, +2."""
    height, width, channels = x.shape[rows : rows + 3]
    grid = (height // factors[0], width // factors[1])
    x = x.reshape(*x.shape[:rows], grid[0], factors[0], grid[1], factors[1], channels, *x.shape[rows + 3 :])
    x = x.swapaxes(rows + 1, rows + 2)
    return x.reshape(*x.shape[:rows], *grid, factors[0] * factors[1] * channels, *x.shape[rows + 5 :])
