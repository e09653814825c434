"""Strided convolution of few colours with each stride's pixels packed into channels first.

A TPU keeps channels in tiles of 128: three colours waste almost all of a tile, and of the memory traffic. Packed, a
patch stride of 4 x 4 pixels has 48 channels, and the kernel covers whole strides, filled up with zeros.

Letters of shapes: B clips, T H W frames and pixels, C colours, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Pairs = Sequence[tuple[int, int]]


def space_to_depth_conv(
    video: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Pairs, **settings: Any
) -> jax.Array:
    """`lax.conv_general_dilated` for a video, in place of which `flax.linen.Conv` takes it.

    Args:
      video: (B, T, H, W, C).
      kernel: (kt, kh, kw, C, D).
      strides: of time, height and width.
      padding: (before, behind) on each axis.
      settings: further ones of `lax.conv_general_dilated`, passed on.

    Returns:
      (B, T', H', W', D).
    """
    sizes, packs = video.shape[2:4], tuple(strides[1:])
    if any(size % pack for size, pack in zip(sizes, packs, strict=True)):
        return lax.conv_general_dilated(video, kernel, strides, padding, **settings)
    ends = list(padding[:1])
    fills = [(0, 0)]
    for size, pack, kernel_size, (before, behind) in zip(sizes, packs, kernel.shape[1:3], padding[1:], strict=True):
        in_front = -(-before // pack)  # whole strides
        front = in_front * pack - before
        num_packs = -(-(front + kernel_size) // pack)
        outputs = (size + before + behind - kernel_size) // pack + 1
        fills.append((front, num_packs * pack - front - kernel_size))
        ends.append((in_front, outputs - 1 + num_packs - in_front - size // pack))
    kernel = _packed(jnp.pad(kernel, [*fills, (0, 0), (0, 0)]), 1, packs)
    return lax.conv_general_dilated(_packed(video, 2, packs), kernel, (strides[0], 1, 1), ends, **settings)


def _packed(x: jax.Array, rows: int, packs: tuple[int, int]) -> jax.Array:
    """Moves the pixels of each pack into the channels; rows, columns and channels of x lie on axes rows, +1, +2."""
    height, width, channels = x.shape[rows : rows + 3]
    grid = (height // packs[0], width // packs[1])
    x = x.reshape(*x.shape[:rows], grid[0], packs[0], grid[1], packs[1], channels, *x.shape[rows + 3 :])
    x = x.swapaxes(rows + 1, rows + 2)
    return x.reshape(*x.shape[:rows], *grid, packs[0] * packs[1] * channels, *x.shape[rows + 5 :])
