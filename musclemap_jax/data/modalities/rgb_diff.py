"""RGB difference as stored data: |frame t - frame t-1| of the stored frames, lossless; the first one is zero.

For models that read it from the records by TFDS. Ours make it of the video on the device, with the same values.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.images import encode_png
from musclemap_jax.data.modalities.fields import ClipRecord, Field, Images
from musclemap_jax.data.modalities.modality import ClipSettings, ClipSize, ClipWriter, Frame, Modality, RawClip


class RgbDifference(Modality):
    """Absolute differences of neighbouring frames."""

    name = "rgb_diff"
    bytes_per_pixel = 1.0
    """PNG: 0.4 to 0.7 were seen."""

    def fields(self, settings: ClipSettings) -> dict[str, Field]:
        return {"rgb_diff": Images(3, "png")}

    def writer(self, clip: RawClip, files: tuple[Path, ...], settings: ClipSettings) -> ClipWriter:
        return _DifferenceWriter()


class _DifferenceWriter(ClipWriter):
    """Holds the previous frame as it comes out of its JPEG."""

    def __init__(self) -> None:
        self._images: list[bytes] = []
        self._previous: np.ndarray | None = None

    def add(self, frame: Frame) -> None:
        previous = frame.decoded if self._previous is None else self._previous
        self._images.append(encode_png(cv2.absdiff(frame.decoded, previous)))
        self.num_bytes += len(self._images[-1])
        self._previous = frame.decoded

    def fields(self, size: ClipSize) -> ClipRecord:
        return {"rgb_diff": self._images}
