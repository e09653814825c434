"""Windows of the grid of patches: their size, their shift, their tokens' regions and relative positions.

Source: Video Swin (arXiv:2106.13230) as in torchvision's `models/video/swin_transformer.py`. The grid is padded at its
end to whole windows; padded tokens take part in attention, as published.

Letters of shapes: B clips, T H W the grid, W windows, N tokens of a window, D width, c width of a head.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from musclemap_jax.models.kernels.sliding_windows import Axes


@dataclasses.dataclass(frozen=True)
class Windows:
    """How a grid is cut into windows.

    Attributes:
      grid: Sizes (T, H, W) before padding.
      size: Sizes of a window, at most the grid's.
      shift: By how much the grid is rolled to the front before it is cut.
    """

    grid: Axes
    size: Axes
    shift: Axes

    @classmethod
    def of(cls, grid: Axes, size: Axes, shifted: bool) -> Windows:
        """Windows of the architecture's size, shifted by half of it; an axis that one window spans is not shifted."""
        spanned = [length <= window for length, window in zip(grid, size, strict=True)]
        fitted = tuple(min(length, window) for length, window in zip(grid, size, strict=True))
        shift = (window // 2 if shifted and not whole else 0 for window, whole in zip(size, spanned, strict=True))
        return cls(tuple(grid), fitted, tuple(shift))

    @property
    def counts(self) -> Axes:
        """Number of windows along each axis."""
        return tuple(-(-length // window) for length, window in zip(self.grid, self.size, strict=True))

    @property
    def padded(self) -> Axes:
        """Sizes of the grid after padding."""
        return tuple(count * window for count, window in zip(self.counts, self.size, strict=True))

    @property
    def num_tokens(self) -> int:
        """N."""
        return math.prod(self.size)

    def pad_and_roll(self, x: Float[Array, "B T H W D"]) -> Float[Array, "B T2 H2 W2 D"]:
        """Pads by zeros to whole windows, and shifts."""
        if self.padded != self.grid:
            widths = [(0, padded - length) for padded, length in zip(self.padded, self.grid, strict=True)]
            x = jnp.pad(x, [(0, 0), *widths, (0, 0)])
        return jnp.roll(x, [-step for step in self.shift], (1, 2, 3)) if any(self.shift) else x

    def roll_back_and_crop(self, x: Float[Array, "B T2 H2 W2 D"]) -> Float[Array, "B T H W D"]:
        """The inverse of `pad_and_roll`."""
        x = jnp.roll(x, self.shift, (1, 2, 3)) if any(self.shift) else x
        return x[:, : self.grid[0], : self.grid[1], : self.grid[2]] if self.padded != self.grid else x

    def cut(self, x: Float[Array, "B T2 H2 W2 D"], *heads: int) -> Float[Array, "*parts B W heads N c"]:
        """Cuts the padded grid into windows; `heads` are (parts, heads, c) or (heads, c), whose product is D."""
        *parts, num_heads, width = heads
        (t, h, w), (dt, dh, dw), num_parts = self.counts, self.size, len(parts)
        x = x.reshape(x.shape[0], t, dt, h, dh, w, dw, *heads)
        x = x.transpose(*range(7, 7 + num_parts), 0, 1, 3, 5, 7 + num_parts, 2, 4, 6, 8 + num_parts)
        return x.reshape(*parts, x.shape[num_parts], t * h * w, num_heads, self.num_tokens, width)

    def join(self, x: Float[Array, "B W heads N c"]) -> Float[Array, "B T2 H2 W2 D"]:
        """The inverse of `cut`, with heads joined."""
        (t, h, w), (dt, dh, dw) = self.counts, self.size
        x = x.reshape(x.shape[0], t, h, w, x.shape[2], dt, dh, dw, x.shape[4])
        x = x.transpose(0, 1, 5, 2, 6, 3, 7, 4, 8)
        return x.reshape(x.shape[0], *self.padded, -1)

    def regions(self) -> Int[np.ndarray, "W N"] | None:
        """Number of each token's region: what a shift brings together from both ends does not mix; None unshifted."""
        if not any(self.shift):
            return None
        labels = [_axis_labels(*axis) for axis in zip(self.padded, self.size, self.shift, strict=True)]
        grid = sum(label.reshape(shape) * 3**axis for axis, (label, shape) in enumerate(_along_axes(labels)))
        (t, h, w), (dt, dh, dw) = self.counts, self.size
        grid = np.broadcast_to(grid, self.padded).reshape(t, dt, h, dh, w, dw)
        return grid.transpose(0, 2, 4, 1, 3, 5).reshape(-1, self.num_tokens).astype(np.int32)


def _axis_labels(length: int, window: int, shift: int) -> np.ndarray:
    """0 up to the last window, 1 in it up to the part that was rolled there, 2 in that; all 0 without a shift."""
    position = np.arange(length)
    return (position >= length - window).astype(int) + (position >= length - shift) if shift else np.zeros(length, int)


def _along_axes(labels: list[np.ndarray]) -> list[tuple[np.ndarray, tuple[int, int, int]]]:
    return list(zip(labels, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True))


def table_rows(size: Axes) -> int:
    """Rows of the table of relative positions for windows of a size."""
    return math.prod(2 * length - 1 for length in size)


def relative_bias(table: Float[Array, "rows heads"], size: Axes, num_tokens: int) -> Float[Array, "heads N N"]:
    """Bias of the logits for each query and key, from the architecture's table.

    A row of the table belongs to a difference of positions in time, height and width. It is spread by slices, axis by
    axis: to look up each pair of tokens would be far slower on CPU, above all in the gradient.

    `size` is the architecture's. As published, the n-th token of a smaller window has the coordinates of the n-th token
    of a whole one: its own only where the window is shorter in time alone.
    """
    num_heads, whole = table.shape[1], math.prod(size)
    bias = table.T.reshape(num_heads, *(2 * length - 1 for length in size))
    for axis, length in enumerate(size):
        bias = _spread_differences(bias, 1 + 2 * axis, length)
    bias = bias.transpose(0, 1, 3, 5, 2, 4, 6).reshape(num_heads, whole, whole)
    return bias[:, :num_tokens, :num_tokens]


def _spread_differences(x: jax.Array, axis: int, length: int) -> jax.Array:
    """Replaces an axis of differences, from 1 - length to length - 1, by one for the query and one for the key."""
    descending = jnp.flip(x, axis)
    rows = (lax.slice_in_dim(descending, length - 1 - q, 2 * length - 1 - q, axis=axis) for q in range(length))
    return jnp.stack(list(rows), axis)
