"""How one published array becomes one of ours, and back.

Published arrays are in PyTorch's order: linear layers (out, in), convolutions (out, in, t, h, w). Ours are in Flax's:
(in, out), (t, h, w, in, out).
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable

import numpy as np

from musclemap_jax.models.video.relative_position import interpolation_matrix

Shape = tuple[int, ...]

MAX_WINDOW = 64
"""Largest side of a published kernel in frames or pixels."""

MAX_ROWS = 4096
"""Largest number of rows of a published table of relative positions."""


@dataclasses.dataclass(frozen=True)
class Transform:
    """A change of layout.

    Attributes:
      name: Name for reports.
      fits: (shape of the published array, shape of ours) -> whether `forward` applies.
      forward: (published array, shape of ours) -> our array.
      backward: Our array -> the published one, the inverse of `forward` where sizes are equal; None if unsupported.
      change: (both shapes) -> what is done besides the change of layout; empty for nothing.
    """

    name: str
    fits: Callable[[Shape, Shape], bool]
    forward: Callable[[np.ndarray, Shape], np.ndarray]
    backward: Callable[[np.ndarray], np.ndarray] | None = None
    change: Callable[[Shape, Shape], str] = lambda source, shape: ""


def resize_axis(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Interpolates one axis linearly to another length, like PyTorch's `linear` mode without aligned corners."""
    if array.shape[axis] == size:
        return array
    matrix = interpolation_matrix(array.shape[axis], size).astype(array.dtype)
    return np.moveaxis(np.tensordot(matrix, array, (1, axis)), 0, axis)


def _window(source: Shape) -> Shape:
    """(t, h, w) of a published kernel (out, in, t, h, w), or (out, in, h, w) for images."""
    return (1,) * (5 - len(source)) + source[2:]


def _has_window(source: Shape) -> bool:
    return len(source) in (4, 5) and all(1 <= size <= MAX_WINDOW for size in source[2:])


def _resize_kernel(kernel: np.ndarray, shape: Shape) -> np.ndarray:
    """Resizes the window (t, h, w) and scales its values so that their sum stays about the same.

    From one frame to T this is the inflation of PySlowFast: the kernel repeated T times and divided by T.
    """
    for axis, size in enumerate(shape[:3]):
        before = kernel.shape[axis]
        if before != size:
            kernel = resize_axis(kernel, axis, size) * np.float32(before / size)
    return kernel


def _change_of_window(source: Shape, shape: Shape) -> str:
    if _window(source) == shape[:3]:
        return ""
    return "inflated in time" if _window(source) == (1, *shape[1:3]) else "interpolated"


def _convolution(array: np.ndarray, shape: Shape) -> np.ndarray:
    array = array.reshape(*array.shape[:2], *_window(array.shape))
    return _resize_kernel(array.transpose(2, 3, 4, 1, 0), shape)


def _pooling(array: np.ndarray, shape: Shape) -> np.ndarray:
    array = array.reshape(len(array), *_window(array.shape))
    return _resize_kernel(array.transpose(1, 2, 3, 0), shape)


COPY = Transform("the same array", operator.eq, lambda array, shape: array, lambda array: array)
LINEAR = Transform(
    "a linear layer", lambda source, shape: source[::-1] == shape, lambda array, shape: array.T, np.transpose
)
CONVOLUTION = Transform(
    "a convolution",
    lambda source, shape: _has_window(source) and source[:2] == (shape[4], shape[3]),
    _convolution,
    lambda array: array.transpose(4, 3, 0, 1, 2),
    _change_of_window,
)
POOLING = Transform(
    "a depthwise convolution",
    lambda source, shape: _has_window(source) and source[:2] == (shape[3], 1),
    _pooling,
    lambda array: array.transpose(3, 0, 1, 2)[:, None],
    _change_of_window,
)
TABLE = Transform(
    "a table of relative positions",
    lambda source, shape: len(source) == 2 and source[1] == shape[1] and 1 <= source[0] <= MAX_ROWS,
    lambda array, shape: resize_axis(array, 0, shape[0]),
    lambda array: array,
    lambda source, shape: "interpolated" if source[0] != shape[0] else "",
)
TOKENS = Transform(
    "class tokens",
    lambda source, shape: (1,) * (3 - len(source)) + source == shape,
    np.reshape,
    lambda array: array,
)
WHOLE_CONVOLUTION = dataclasses.replace(
    CONVOLUTION, fits=lambda source, shape: len(source) == 5 and (*source[2:], source[1], source[0]) == shape
)
"""A convolution whose window has to be ours."""


def _taps_last(array: np.ndarray) -> np.ndarray:
    """Ours (taps, in, out), or (in, out) of one tap, to PyTorch's (out, in, taps, 1)."""
    return array.reshape(-1, *array.shape[-2:]).transpose(2, 1, 0)[..., None]


TEMPORAL_CONVOLUTION = Transform(
    "a convolution over time",
    lambda source, shape: len(source) == 4 and source[3] == 1 and source[2::-1] == (1,) * (3 - len(shape)) + shape,
    lambda array, shape: array[..., 0].transpose(2, 1, 0).reshape(shape),
    _taps_last,
)
"""(out, in, taps, 1) in PyTorch, (taps, in, out) in ours, or (in, out) where ours has one tap."""

NEGATED_CONVOLUTION = dataclasses.replace(
    TEMPORAL_CONVOLUTION,
    forward=lambda array, shape: -TEMPORAL_CONVOLUTION.forward(array, shape),
    backward=lambda array: -_taps_last(array),
)

SUBSETS_CONVOLUTION = Transform(
    "a convolution of several edge sets",
    lambda source, shape: len(source) == 4 and source == (shape[1] * shape[2], shape[0], 1, 1),
    lambda array, shape: array.reshape(*shape[1:], shape[0]).transpose(2, 0, 1),
    lambda array: array.reshape(array.shape[0], -1).T[..., None, None],
)
"""(edge sets * out, in, 1, 1) in PyTorch, (in, edge sets, out) in ours."""

FLATTENED = Transform(
    "the same array, flat",
    lambda source, shape: source == (math.prod(shape),),
    np.reshape,
    np.ravel,
)

TRANSPOSED_EDGES = Transform(
    "edges in the other direction",
    lambda source, shape: source == (shape[0], shape[2], shape[1]),
    lambda array, shape: array.swapaxes(1, 2),
    lambda array: array.swapaxes(1, 2),
)
