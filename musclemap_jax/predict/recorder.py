"""Frames of a video that its page shows, collected while the video is read; memory does not grow with its length."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from musclemap_jax.data.images import decode_jpeg, encode_jpeg
from musclemap_jax.data.raw.video import encode_video, scaled_size
from musclemap_jax.predict.prediction import SeenFrame
from musclemap_jax.predict.skeleton_drawing import draw_persons

PREVIEW_S = 30.0
PREVIEW_BYTES = 2_000_000
PREVIEW_FPS = 15
LEAD_IN_S = 1.0
"""The preview begins this long before the first frame that shows a person."""

_MAX_SPREAD = 48
_THUMBNAIL_PX = 200
_QUALITIES = (26, 32, 38, 44, 51)
"""x264's quality factors, best first; the first whose clip is small enough is taken."""


@dataclasses.dataclass(frozen=True)
class KeptFrame:
    """A frame as it is kept.

    Attributes:
      time_s: Its time in seconds.
      jpeg: The image.
      persons: {number of the person: (V, 3) joints in pixels of the image}.
      joint_names: Names of the V joints.
    """

    time_s: float
    jpeg: bytes
    persons: Mapping[int, np.ndarray]
    joint_names: tuple[str, ...]

    def drawn(self, person: int | None) -> np.ndarray:
        """uint8 (H, W, 3) RGB with the skeletons; others than `person`, if one is given, in grey."""
        image = decode_jpeg(self.jpeg)
        draw_persons(image, self.persons, self.joint_names, person)
        return image


@dataclasses.dataclass(frozen=True)
class Preview:
    """A part of the video with the skeletons drawn into it.

    Attributes:
      mp4: The H.264 file.
      start_s: Where the part begins, in seconds.
      end_s: Where it ends.
      size: (height, width) in pixels.
    """

    mp4: bytes
    start_s: float
    end_s: float
    size: tuple[int, int]


class Recorder:
    """A `FrameObserver` that keeps frames spread evenly over the video, and one part of it for a preview.

    The part begins with the first person, and at the start of the video if nobody is seen at all.
    """

    def __init__(self) -> None:
        self._spread: list[KeptFrame] = []
        self._spread_stride = 1
        self._part: deque[KeptFrame] = deque()
        self._part_stride = 1
        self._first_time_s = 0.0
        self._person_seen = False

    def __call__(self, frame: SeenFrame) -> None:
        self._set_stride(frame)
        spread = frame.number % self._spread_stride == 0
        part = frame.number % self._part_stride == 0 and self._part_wants(frame)
        if not spread and not part:
            return
        persons = {number: joints.copy() for number, joints in frame.persons.items()}
        kept = KeptFrame(frame.time_s, encode_jpeg(frame.image), persons, frame.joint_names)
        if part:
            self._part.append(kept)
        if spread:
            self._spread.append(kept)
            if len(self._spread) > _MAX_SPREAD:
                del self._spread[1::2]
                self._spread_stride *= 2

    def _set_stride(self, frame: SeenFrame) -> None:
        """The first two frames tell the frame rate."""
        if frame.number == 0:
            self._first_time_s = frame.time_s
        elif frame.number == 1:
            self._part_stride = max(1, round(1 / (PREVIEW_FPS * max(frame.time_s - self._first_time_s, 1e-3))))

    def _part_wants(self, frame: SeenFrame) -> bool:
        if frame.persons and not self._person_seen:
            self._person_seen = True
            while self._part and self._part[0].time_s < frame.time_s - LEAD_IN_S:
                self._part.popleft()
            if self._part and frame.time_s - self._part[-1].time_s > 2 / PREVIEW_FPS:
                self._part.clear()  # it ended before the person came
        return not self._part or frame.time_s - self._part[0].time_s < PREVIEW_S

    def thumbnails(self, count: int, duration_s: float, person: int | None = None) -> list[tuple[float, bytes]]:
        """(time in seconds, JPEG) of frames with skeletons, one from the middle of each of `count` equal parts.

        Args:
          count: Number of parts; fewer frames are returned if fewer were seen.
          duration_s: Length of the video in seconds.
          person: Number of the person whose skeleton stands out; None for all.
        """
        count = min(count, len(self._spread))
        times = np.array([kept.time_s for kept in self._spread])
        middles = (np.arange(count) + 0.5) / max(count, 1) * duration_s
        chosen = [self._spread[int(np.abs(times - middle).argmin())] for middle in middles]
        thumbnails = []
        for kept in chosen:
            thumbnails.append((kept.time_s, _small(kept.drawn(person))))
        return thumbnails

    def nearest(self, time_s: float, person: int | None = None) -> tuple[float, bytes] | None:
        """(time in seconds, JPEG) of the kept frame that is nearest to a time, drawn as `thumbnails` are.

        Args:
          time_s: The time.
          person: Number of the person whose skeleton stands out; None for all.

        Returns:
          None if nothing was seen.
        """
        if not self._spread:
            return None
        kept = min(self._spread, key=lambda each: abs(each.time_s - time_s))
        return kept.time_s, _small(kept.drawn(person))

    def preview(self, fps: float, person: int | None = None) -> Preview | None:
        """The part of the video, at most `PREVIEW_S` long and `PREVIEW_BYTES` large; None if nothing was seen.

        Args:
          fps: Frames per second of the video.
          person: As for `thumbnails`.
        """
        part = list(self._part)
        while part:
            for quality in _QUALITIES:
                mp4, size = _encoded(part, fps / self._part_stride, quality, person)
                if len(mp4) <= PREVIEW_BYTES:
                    end_s = part[-1].time_s + self._part_stride / fps
                    return Preview(mp4, part[0].time_s, end_s, size)
            part = part[: len(part) // 2]
        return None

    @property
    def aspect(self) -> float:
        """Width of the frames in units of their height; 1 if nothing was seen."""
        if not self._spread:
            return 1.0
        height, width = decode_jpeg(self._spread[0].jpeg).shape[:2]
        return width / height


def _small(image: np.ndarray) -> bytes:
    """JPEG of a thumbnail."""
    size = scaled_size(image.shape[:2], _THUMBNAIL_PX)
    return encode_jpeg(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), 80)


def _encoded(part: list[KeptFrame], fps: float, quality: int, person: int | None) -> tuple[bytes, tuple[int, int]]:
    """The mp4 file and the (height, width) of its frames."""
    size = (0, 0)

    def frames() -> Iterator[np.ndarray]:
        nonlocal size
        for kept in part:
            image = kept.drawn(person)
            size = (image.shape[0] // 2 * 2, image.shape[1] // 2 * 2)
            yield image[: size[0], : size[1]]

    with tempfile.TemporaryDirectory(prefix="musclemap_jax_") as folder:
        path = Path(folder) / "preview.mp4"
        encode_video(path, frames(), fps, crf=quality, faststart=True)
        return path.read_bytes(), size
