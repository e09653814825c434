"""RGB frames: stored as JPEG, in a batch the sampled frames of each view."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from musclemap_jax.data.augmentation import augment_video
from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.frames import decode_frames
from musclemap_jax.data.modalities.fields import ClipRecord, Field, Images, field_of
from musclemap_jax.data.modalities.modality import (
    BatchModality,
    ClipDraw,
    ClipSettings,
    ClipSize,
    ClipWriter,
    Frame,
    RawClip,
    one_row_of_frames,
)


class Video(BatchModality):
    """RGB frames."""

    name = "video"
    bytes_per_pixel = 0.35
    """JPEG at quality 90 with colour at half resolution: 0.2 to 0.3 were seen."""

    frames_field = "frames"

    def fields(self, settings: ClipSettings) -> dict[str, Field]:
        return {"frames": Images(3, "jpeg")}

    def writer(self, clip: RawClip, files: tuple[Path, ...], settings: ClipSettings) -> ClipWriter:
        return _JpegWriter()

    def arrays(self, spec: InputSpec, num_rows: int, num_padding: int, num_views: int) -> dict[str, np.ndarray]:
        """Rows that are to be written are not initialised: zeros cost 4 KiB pages where this gets huge ones."""
        shape = (num_rows, num_views, spec.num_frames, spec.crop_size, spec.crop_size, 3)
        video = np.empty(shape, np.uint8)
        video[num_rows - num_padding :] = 0
        return {"video": video}

    def write(self, batch: Batch, row: int, record: ClipRecord, spec: InputSpec, draw: ClipDraw) -> None:
        video = one_row_of_frames(batch["video"], row)
        decode_frames(field_of(record, "frames"), draw.indices, draw.boxes, video)  # ty: ignore[invalid-argument-type]  # drawn, since the modality has frames
        if draw.rng is not None:
            augment_video(video, draw.flip, spec.augmentation, draw.rng, draw.operations)


class _JpegWriter(ClipWriter):
    def __init__(self) -> None:
        self._images: list[bytes] = []

    def add(self, frame: Frame) -> None:
        self._images.append(frame.jpeg)
        self.num_bytes += len(frame.jpeg)

    def fields(self, size: ClipSize) -> ClipRecord:
        return {"frames": self._images}
