"""Optical flow: the raw data set's own or estimated, stored as two grey JPEGs per frame; in a batch as the video is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from musclemap_jax.data.affine import move_flow
from musclemap_jax.data.batch import Batch, InputSpec
from musclemap_jax.data.frames import decode_frames
from musclemap_jax.data.images import decode_jpeg, encode_grey_jpeg
from musclemap_jax.data.modalities.fields import Array, ClipRecord, Field, Images, field_of
from musclemap_jax.data.modalities.modality import (
    BatchModality,
    ClipDraw,
    ClipError,
    ClipSettings,
    ClipSize,
    ClipWriter,
    Frame,
    RawClip,
    file_exists,
    one_row_of_frames,
)
from musclemap_jax.data.raw import flow
from musclemap_jax.data.raw.video import VideoError, read_video

_AXES = ("flow_x", "flow_y")


class Flow(BatchModality):
    """Motion from frame t-1 to frame t to the right and downwards; the first frame has none."""

    name = "flow"
    bytes_per_pixel = 0.15
    """Two grey JPEGs: 0.04 to 0.11 were seen."""

    frames_field = _AXES[0]

    def raw_files(self, clip: RawClip) -> tuple[Path, ...]:
        return flow.flow_paths(clip.root, clip.clip_id)

    def find_files(self, clip: RawClip, settings: ClipSettings) -> tuple[Path, ...]:
        """Both files or none."""
        paths = self.raw_files(clip)
        missing = [path for path in paths if not file_exists(path)]
        if len(missing) == 1:
            raise ClipError(f"{clip.name(missing[0])}: no such file, but the flow of the other direction exists")
        return () if missing else paths

    def check_settings(self, settings: ClipSettings) -> None:
        flow.make_estimator(settings.flow_method)

    def fields(self, settings: ClipSettings) -> dict[str, Field]:
        images = Images(1, "jpeg")
        return dict.fromkeys(_AXES, images) | {"flow_scale": Array((2,), "float32")}

    def writer(self, clip: RawClip, files: tuple[Path, ...], settings: ClipSettings) -> ClipWriter:
        return _FileWriter(clip, files, settings) if files else _EstimateWriter(settings)

    def arrays(self, spec: InputSpec, num_rows: int, num_padding: int, num_views: int) -> dict[str, np.ndarray]:
        shape = (num_rows, num_views, spec.num_frames, spec.crop_size, spec.crop_size, 2)
        return {"flow": np.full(shape, flow.NO_MOTION, np.uint8)}

    def write(self, batch: Batch, row: int, record: ClipRecord, spec: InputSpec, draw: ClipDraw) -> None:
        """The values stay those of the stored size; a flip mirrors places and reverses the motion to the right.

        RandAugment's geometric operations move places and turn the motion; its colours leave flow as it is.
        """
        values = one_row_of_frames(batch["flow"], row)
        images = np.empty((*values.shape[:-1], 3), np.uint8)
        for axis, name in enumerate(_AXES):
            decode_frames(field_of(record, name), draw.indices, draw.boxes, images)  # ty: ignore[invalid-argument-type]  # drawn, since the modality has frames
            values[..., axis] = images[..., 0]
        if maps := draw.affine_maps(spec.crop_size):
            move_flow(values, *maps, field_of(record, "flow_scale"))
        if draw.flip:
            values[...] = values[:, :, ::-1].copy()
            values[..., 0] = np.minimum(2 * flow.NO_MOTION - values[..., 0].astype(np.int16), 255)


class _EstimateWriter(ClipWriter):
    """Estimates the flow; holds the previous frame."""

    def __init__(self, settings: ClipSettings):
        self._settings = settings
        self._estimate = flow.make_estimator(settings.flow_method)
        self._previous: np.ndarray | None = None
        self._images: dict[str, list[bytes]] = {name: [] for name in _AXES}

    def add(self, frame: Frame) -> None:
        if self._previous is None:
            values = np.full((*frame.grey.shape, 2), flow.NO_MOTION, np.uint8)
        else:
            values = flow.encode_flow(self._estimate(self._previous, frame.grey), self._settings.flow_bound)
        for axis, name in enumerate(_AXES):
            self._images[name].append(encode_grey_jpeg(values[..., axis], self._settings.jpeg_quality))
            self.num_bytes += len(self._images[name][-1])
        self._previous = frame.grey

    def fields(self, size: ClipSize) -> ClipRecord:
        return self._images | {"flow_scale": np.full(2, flow.step_px(self._settings.flow_bound), np.float32)}


class _FileWriter(ClipWriter):
    """Reads the raw data set's own flow at the size of the stored frames.

    It may have one frame less than the clip, and then begins with a frame without motion.
    """

    def __init__(self, clip: RawClip, files: tuple[Path, ...], settings: ClipSettings):
        self._clip = clip
        self._files = files
        self._settings = settings

    def fields(self, size: ClipSize) -> ClipRecord:
        record: ClipRecord = {}
        scale = []
        for axis, (name, path) in enumerate(zip(_AXES, self._files, strict=True)):
            try:
                record[name], source = self._read(path, size)
            except VideoError as error:
                raise ClipError(f"{self._clip.name(path)}: {error}") from error
            side = 1 - axis  # x moves along the width
            scale.append(flow.step_px(self._settings.flow_bound) * size.stored[side] / source[side])
        return record | {"flow_scale": np.array(scale, np.float32)}

    def _read(self, path: Path, size: ClipSize) -> tuple[list[bytes], tuple[int, int]]:
        """One direction's images, and the file's (height, width)."""
        quality = self._settings.jpeg_quality
        num_frames = size.num_source_frames
        video = read_video(path, self._settings.short_side, pixel_format="gray", by_time=False)
        frames = cast(Iterable[np.ndarray], video.frames)
        images = [encode_grey_jpeg(_resized(frame, size.stored), quality) for frame in frames]
        if len(images) == num_frames - 1:
            images.insert(0, encode_grey_jpeg(np.full(size.stored, flow.NO_MOTION, np.uint8), quality))
        if len(images) != num_frames:
            raise VideoError(f"expected {num_frames} frames as the clip has, or one less, got {len(images)}")
        if size.shown is not None:
            images = _between_shown(images, size, quality)
        return images, video.source_size


def _between_shown(images: Sequence[bytes], size: ClipSize, quality: int) -> list[bytes]:
    """Motion between the frames that a resampled clip shows: none where one is repeated, a sum over those left out."""
    shown = cast(tuple[int, ...], size.shown)
    between = [images[shown[0]]]
    for previous, number in itertools.pairwise(shown):
        if number == previous + 1:
            between.append(images[number])
            continue
        motion = np.full(size.stored, flow.NO_MOTION, np.int32)
        for image in images[previous + 1 : number + 1]:
            motion += decode_jpeg(image)[..., 0].astype(np.int32) - flow.NO_MOTION
        between.append(encode_grey_jpeg(motion.clip(0, 255).astype(np.uint8), quality))
    return between


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if image.shape == size else cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
