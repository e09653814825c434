"""The frames of a video file or of an array, one after another, in the two sizes that prediction needs.

Letters of shapes: T frames, H W pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from musclemap_jax.data.images import JPEG_QUALITY
from musclemap_jax.data.modalities.modality import Frame
from musclemap_jax.data.raw.video import SHORT_SIDE_PX, DecodedFrame, VideoError, open_video, scaled_size
from musclemap_jax.errors import UserError

POSE_SHORT_SIDE_PX = 720
"""Size at which poses are estimated: estimators scale a person to about 256 pixels, so more only costs time."""

_FRAMES_AHEAD = 4


@dataclasses.dataclass(frozen=True)
class SourceFrame:
    """One frame.

    Attributes:
      number: Its number among the video's own frames, from 0; that of a variable rate is resampled by time.
      stored: The frame as prepared data stores it.
      pose_image: uint8 (H, W, 3) RGB for a pose estimator; None if none was asked for.
    """

    number: int
    stored: Frame
    pose_image: np.ndarray | None


class FrameStream(Iterator[SourceFrame]):
    """Frames that can be iterated over once; raises UserError where a video breaks.

    Attributes:
      name: The video's path, or an empty string.
      fps: Frames per second.
      source_size: (height, width) of the video in pixels, as a player shows it.
      stored_size: (height, width) of the stored frames.
      has_variable_rate: Whether the video's own frames have a variable rate.
      num_frames: Number of the frames that were taken so far.
    """

    def __init__(
        self,
        name: str,
        fps: float,
        source_size: tuple[int, int],
        frames: Iterator[SourceFrame],
        has_variable_rate: bool = False,
    ) -> None:
        self.name, self.fps, self.source_size, self.has_variable_rate = name, fps, source_size, has_variable_rate
        self.stored_size = scaled_size(source_size, SHORT_SIDE_PX)
        self.num_frames = 0
        self._frames = frames

    def __next__(self) -> SourceFrame:
        frame = next(self._frames)
        self.num_frames += 1
        return frame


def video_frames(path: str | os.PathLike, with_pose_images: bool) -> FrameStream:
    """Frames of a video file.

    Args:
      path: A video in any container that FFmpeg reads.
      with_pose_images: Whether a pose estimator will look at them.

    Raises:
      UserError: The file is absent, holds no video or is truncated.
    """
    try:
        video = open_video(Path(path))
    except VideoError as error:
        raise UserError(f"{path}: {error}") from error

    def frames() -> Iterator[SourceFrame]:
        try:
            for frame in video.frames:
                yield source_frame(frame, with_pose_images)
        except VideoError as error:
            raise UserError(f"{path}: {error}") from error

    return FrameStream(str(path), video.fps, video.source_size, frames(), video.has_variable_rate)


def source_frame(frame: DecodedFrame, with_pose_image: bool) -> SourceFrame:
    """A decoded frame in the sizes that prediction needs."""
    pose_image = frame.image(POSE_SHORT_SIDE_PX) if with_pose_image else None
    stored = Frame(frame.image(SHORT_SIDE_PX, "yuvj420p"), JPEG_QUALITY)
    return SourceFrame(frame.number, stored, cast(np.ndarray | None, pose_image))


def array_frames(frames: np.ndarray, fps: float | None) -> FrameStream:
    """Frames of an array.

    Args:
      frames: (T, H, W, 3) uint8 RGB.
      fps: Frames per second.

    Raises:
      UserError: Another shape or dtype, or no frame rate.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise UserError(f"frames: expected uint8 (T, H, W, 3) RGB with T at least 1, got {frames.dtype} {frames.shape}")
    if fps is None or not 0 < fps < np.inf:
        raise UserError(f"fps: expected the frames per second of the array, got {fps}")
    source_size = (frames.shape[1], frames.shape[2])
    stored_size = scaled_size(source_size, SHORT_SIDE_PX)

    def stored(image: np.ndarray) -> Frame:
        if stored_size != source_size:
            image = cv2.resize(image, stored_size[::-1], interpolation=cv2.INTER_AREA)
        return Frame(image, JPEG_QUALITY)

    sources = (SourceFrame(number, stored(image), image) for number, image in enumerate(frames))
    return FrameStream("", float(fps), source_size, sources)


@contextlib.contextmanager
def decoded_ahead(stream: FrameStream) -> Generator[FrameStream]:
    """The same stream, decoded by a thread a few frames ahead of the one that is asked for."""
    end = object()
    with ThreadPoolExecutor(1) as thread:

        def frames() -> Iterator[SourceFrame]:
            pending = deque(thread.submit(next, stream, end) for _ in range(_FRAMES_AHEAD))
            while (frame := pending.popleft().result()) is not end:
                pending.append(thread.submit(next, stream, end))
                yield cast(SourceFrame, frame)

        try:
            yield FrameStream(stream.name, stream.fps, stream.source_size, frames(), stream.has_variable_rate)
        finally:
            thread.shutdown(cancel_futures=True)
