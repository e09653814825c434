"""Conversion of decoded frames to what JPEG stores, without RGB in between.

h264 and JPEG both store brightness and, at half resolution, two colour differences, mostly by the same matrix (BT.601);
they differ in the range of values. Converting to RGB and back takes a twelfth of a build's time, and FFmpeg's fast
conversion darkens by about one level on average, while stretching the planes is exact to half a level.
"""

from __future__ import annotations

from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange

_FORMATS = ("yuv420p", "yuvj420p")
_BT601 = (2, 5, 6)
"""FFmpeg's AVColorSpace: unspecified (BT.601 to FFmpeg, and to players for small videos), BT.470BG and SMPTE 170M."""

_DARKEST = 16
_BRIGHTNESS = {"alpha": 255 / 219, "beta": -_DARKEST * 255 / 219}
_COLOUR = {"alpha": 255 / 224, "beta": 128 - 128 * 255 / 224 - 1e-3}
"""From the range of video (16 to 235, colour 16 to 240) to the full one. Sources: ITU-R BT.601-7, 2.5; JFIF 1.02. The
darkest colour lands on 0.5: without the last term the CPU decides whether that becomes 0 or 1."""


class JpegPlanes(NamedTuple):
    """A frame of height H and width W as JPEG stores it: BT.601, full range, 4:2:0.

    All are uint8: brightness y (H, W), blue and red difference u and v (ceil(H / 2), ceil(W / 2)).
    """

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray


def jpeg_planes(frame: av.VideoFrame, size: tuple[int, int], interpolation: int) -> JpegPlanes | None:
    """The planes of a frame, scaled to a (height, width) in pixels with FFmpeg's flags if its own size differs.

    None if the video stores its pixels in another way or is scaled to an odd size.
    """
    if frame.format.name not in _FORMATS or int(frame.colorspace) not in _BT601:
        return None
    is_full = frame.format.name == "yuvj420p" or frame.color_range == ColorRange.JPEG
    if (frame.height, frame.width) != size:
        if size[0] % 2 or size[1] % 2:
            return None  # colours would be stretched by a pixel
        frame = frame.reformat(width=size[1], height=size[0], interpolation=interpolation, threads=1)
    y, u, v = (_pixels(plane) for plane in frame.planes)
    if is_full:
        return JpegPlanes(*map(np.ascontiguousarray, (y, u, v)))
    return JpegPlanes(_stretched(y, _BRIGHTNESS), _stretched(u, _COLOUR), _stretched(v, _COLOUR))


def _stretched(levels: np.ndarray, scale: dict[str, float]) -> np.ndarray:
    """``levels * alpha + beta``, rounded and clipped to 0 to 255; takes half as long as a table of 256 values."""
    # Levels below the darkest are raised to it, since OpenCV's vectorised function takes absolute values.
    return cv2.convertScaleAbs(cv2.max(levels, _DARKEST), **scale)


def _pixels(plane: VideoPlane) -> np.ndarray:
    """(height, width) view of a plane without the padding of its rows."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]  # ty: ignore[no-matching-overload]  # a buffer
