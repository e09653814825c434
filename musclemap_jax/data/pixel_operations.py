"""Colour operations on all frames of a clip, in place: those that RandAugment draws from.

Each equals Pillow's operation of that name on a single image (`ImageOps`, `ImageEnhance`), up to one grey level of
rounding. A statistic, such as a histogram or a mean grey, is taken over all frames: one of each frame would make the
clip flicker, and RGB difference would take the flicker for motion.

Videos are contiguous (T, H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import UInt8

Video = UInt8[np.ndarray, "T H W 3"]

GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a pixel's grey."""

_LEVELS = np.arange(256)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
"""Kernel of Pillow's `ImageFilter.SMOOTH`, which sharpness moves away from."""


def stacked(video: Video) -> UInt8[np.ndarray, "T*H W 3"]:
    """(T * H, W, 3) view of the frames, one below the other, which OpenCV can take."""
    return video.reshape(-1, *video.shape[2:], copy=False)


def mean_grey(video: Video) -> float:
    """Mean grey of all pixels of the clip."""
    return float(GREY @ cv2.mean(stacked(video))[:3])


def auto_contrast(video: Video) -> None:
    """Stretches each channel to the full range of levels."""
    tables = []
    for histogram in _histograms(video):
        used = np.flatnonzero(histogram)
        scale = 255 / max(used[-1] - used[0], 1)
        stretched = _LEVELS * scale - used[0] * scale
        tables.append(stretched if len(used) > 1 else _LEVELS)
    _map_levels(video, np.stack(tables, axis=-1))


def equalize(video: Video) -> None:
    """Maps the levels of each channel so that all are about equally frequent."""
    tables = []
    for histogram in _histograms(video):
        used = np.flatnonzero(histogram)
        step = (histogram.sum() - histogram[used[-1]]) // 255
        below = np.concatenate([[0], np.cumsum(histogram)[:-1]])
        tables.append((step // 2 + below) // step if step else _LEVELS)
    _map_levels(video, np.stack(tables, axis=-1))


def invert(video: Video) -> None:
    """Turns level v into 255 - v."""
    pixels = stacked(video)
    cv2.bitwise_not(pixels, dst=pixels)


def posterize(video: Video, num_bits: float) -> None:
    """Keeps the highest bits of each level."""
    _map_levels(video, _LEVELS & ~(2 ** (8 - int(num_bits)) - 1))


def solarize(video: Video, threshold: float) -> None:
    """Inverts the levels from a threshold on."""
    _map_levels(video, np.where(threshold > _LEVELS, _LEVELS, 255 - _LEVELS))


def solarize_add(video: Video, added: float) -> None:
    """Brightens the levels below 128 by a number of levels."""
    _map_levels(video, np.where(_LEVELS < 128, _LEVELS + added, _LEVELS))


def brightness(video: Video, factor: float) -> None:
    """Multiplies the levels by a factor."""
    _map_levels(video, _LEVELS * factor)


def contrast(video: Video, factor: float) -> None:
    """Multiplies the distance from the clip's mean grey by a factor."""
    grey = int(mean_grey(video) + 0.5)
    _map_levels(video, grey + factor * (_LEVELS - grey))


def color(video: Video, factor: float) -> None:
    """Multiplies the distance from the pixel's own grey by a factor."""
    pixels = stacked(video)
    saturate = factor * np.eye(3) + (1 - factor) * np.tile(GREY, (3, 1))
    cv2.transform(pixels, saturate.astype(np.float32), dst=pixels)


def sharpness(video: Video, factor: float) -> None:
    """Multiplies the distance from the smoothed frame by a factor; pixels at the border stay."""
    if min(video.shape[1:3]) < 3:
        return
    for frame in video:
        smooth = cv2.filter2D(frame, -1, _SMOOTH)[1:-1, 1:-1]
        frame[1:-1, 1:-1] = cv2.addWeighted(frame[1:-1, 1:-1], factor, smooth, 1 - factor, 0)


def _histograms(video: Video) -> list[np.ndarray]:
    """The number of pixels at each of the 256 levels, by channel."""
    pixels = stacked(video)
    histograms = [cv2.calcHist([pixels], [channel], None, [256], [0, 256]) for channel in range(3)]
    return [histogram.ravel().astype(np.int64) for histogram in histograms]


def _map_levels(video: Video, table: np.ndarray) -> None:
    """Replaces level v by table[v]; the table is (256,), or (256, 3) for each channel its own; rounded down."""
    pixels = stacked(video)
    table = np.clip(table, 0, 255).astype(np.uint8)
    cv2.LUT(pixels, table.reshape(1, 256, -1), dst=pixels)


PIXEL_OPERATIONS: dict[str, Callable[..., None]] = {
    operation.__name__: operation
    for operation in (
        auto_contrast,
        equalize,
        invert,
        posterize,
        solarize,
        solarize_add,
        color,
        contrast,
        brightness,
        sharpness,
    )
}
"""(video) or (video, value) -> None, by the name of RandAugment's operation."""
