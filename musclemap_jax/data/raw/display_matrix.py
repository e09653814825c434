"""The display matrix of a video: how a player turns and mirrors the frames that are stored.

A point (x, y) of the stored frame is shown at (a x + c y, b x + d y), apart from a shift. Phones write it: a rear
camera turns the frame, a front camera may mirror it too, which no angle can say. Source: ISO/IEC 14496-12, 6.2.2. The
result is that of FFmpeg's `-autorotate`; other angles than quarter turns, which no camera writes, go to the nearest.
"""

from __future__ import annotations

from typing import NamedTuple

import av
import numpy as np


class Orientation(NamedTuple):
    """Rows and columns are swapped first, then columns and rows reversed."""

    is_transposed: bool = False
    mirrors_columns: bool = False
    mirrors_rows: bool = False

    def size(self, coded_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) as shown of a stored (height, width); its own inverse."""
        return coded_size[::-1] if self.is_transposed else coded_size

    def shown(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, ...) as a player shows it."""
        if self == UPRIGHT:
            return image
        image = image.swapaxes(0, 1) if self.is_transposed else image
        rows, columns = (
            slice(None, None, -1 if mirrors else 1) for mirrors in (self.mirrors_rows, self.mirrors_columns)
        )
        return np.ascontiguousarray(image[rows, columns])


UPRIGHT = Orientation()


def orientation(frame: av.VideoFrame) -> Orientation:
    """How a player shows a frame."""
    try:
        data = frame.side_data["DISPLAYMATRIX"]  # ty: ignore[invalid-typed-dict-key]  # PyAV's stub lacks it
    except KeyError:
        return UPRIGHT
    (a, b), (c, d) = np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2].tolist()
    if abs(a) >= abs(b):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)
