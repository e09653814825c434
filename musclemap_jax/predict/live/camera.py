"""Cameras: a device (Linux, v4l2), a pipe into which a program writes a video, or a video file played as a camera.

Frames come with their place on a grid of 1 / fps seconds. A place without a frame, because the camera skipped one or a
slow computer dropped it, is for the reader to fill.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer

from musclemap_jax.data.raw.decoding import NumberedFrame
from musclemap_jax.data.raw.display_matrix import orientation
from musclemap_jax.data.raw.video import DecodedFrame, VideoError, open_video
from musclemap_jax.errors import UserError
from musclemap_jax.predict.live.backlog import Backlog, hand_on
from musclemap_jax.predict.names import shown

REAL_TIME, FULL_SPEED = "real_time", "full_speed"
PACES = (REAL_TIME, FULL_SPEED)
"""How a video file is played: as it was filmed, or as fast as it is answered, without dropping anything."""

_DEFAULT_FPS, _MAX_FPS = 30.0, 120
"""Some formats state no rate, or that of their clock."""

_DEVICES = Path("/dev")
_OPEN_TIMEOUT_S = 10.0
_LARGEST_JITTER = 0.75
"""Fractions of a frame by which a frame may be early or late and still follow the one before it."""


class CameraFrame(NamedTuple):
    """A frame, its place on the grid from 0, and when it was filmed, by `time.monotonic`."""

    place: int
    decoded: DecodedFrame
    filmed_at: float


@dataclasses.dataclass(frozen=True)
class Camera:
    """An open camera.

    Attributes:
      name: What the user called it, for messages.
      fps: Frames per second of the grid.
      source_size: (height, width) in pixels as a player shows it.
      drops: Whether frames that nobody takes in time are dropped, as with all that happens in real time.
      frames: Yields the frames; can be iterated over once. Raises UserError where the camera stops; a file ends.
    """

    name: str
    fps: float
    source_size: tuple[int, int]
    drops: bool
    frames: Iterator[CameraFrame]


def find_camera(source: str) -> Path:
    """The path of a camera: of device 2, `/dev/video2`.

    Raises:
      UserError: There is no such device or file.
    """
    path = _DEVICES / f"video{source}" if source.isdecimal() else Path(source)
    if path.is_dir() or not path.exists():
        present = ", ".join(sorted(str(device) for device in _DEVICES.glob("video[0-9]*")))
        others = f"there is {present}" if present else "this machine has no camera that Linux knows"
        raise _error(source, f"expected a camera or a video file, {shown(path)} is none: {others}")
    return path


def open_camera(source: str, pace: str = REAL_TIME) -> Camera:
    """Opens a camera.

    Args:
      source: Number of a device, its path, the path of a pipe, or a video file.
      pace: One of PACES; for video files.

    Raises:
      UserError: There is no such camera, or it does not open.
    """
    path = find_camera(source)
    if stat.S_ISREG(os.stat(path).st_mode):
        return _file(source, path, pace)
    # A driver may wait for ever, out of reach of Ctrl-C.
    opened = Backlog[Camera](1, drops=False)
    threading.Thread(target=hand_on, args=(_device(source, path), opened), name="camera", daemon=True).start()
    try:
        return opened.get(_OPEN_TIMEOUT_S)
    except TimeoutError:
        raise _error(source, f"the camera does not open: nothing came for {_OPEN_TIMEOUT_S:g} s") from None


def _file(source: str, path: Path, pace: str) -> Camera:
    try:
        video = open_video(path)
    except VideoError as error:
        raise _error(source, str(error)) from error

    def frames() -> Iterator[CameraFrame]:
        started = time.monotonic()
        try:
            for place, frame in enumerate(video.frames):
                due = started + place / video.fps
                if pace == REAL_TIME:
                    time.sleep(max(0.0, due - time.monotonic()))
                yield CameraFrame(place, frame, due if pace == REAL_TIME else time.monotonic())
        except VideoError as error:
            raise _error(source, str(error)) from error

    return Camera(source, video.fps, video.source_size, pace == REAL_TIME, frames())


def _device(source: str, path: Path) -> Iterator[Camera]:
    """Yields a device or pipe once it has sent its first frame."""
    device_format = "v4l2" if stat.S_ISCHR(os.stat(path).st_mode) else None
    try:
        container = av.open(str(path) if device_format else f"file:{path}", format=device_format)
    except (av.FFmpegError, OSError) as error:
        raise _error(source, f"the camera does not open: {_reason(error)}") from error
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        raise _error(source, "the camera sends no video that can be decoded")
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate and rate <= _MAX_FPS else _DEFAULT_FPS
    frames = _device_frames(source, container, stream, fps)
    first = next(frames)
    yield Camera(source, fps, first.decoded.source_size, True, itertools.chain([first], frames))


def _device_frames(source: str, container: InputContainer, stream: av.VideoStream, fps: float) -> Iterator[CameraFrame]:
    """Frames of a device, which never ends by itself; closed by the thread that reads it, as FFmpeg requires."""
    grid, place, size = Grid(fps), 0, None
    try:
        with container:
            for number, frame in enumerate(container.decode(stream)):
                filmed_at = time.monotonic()
                time_s = filmed_at if frame.time is None else frame.time
                if (found := grid.place(time_s)) is None:
                    continue
                place, numbered = found, NumberedFrame(number, frame, orientation(frame))
                size = size or numbered.size
                yield CameraFrame(place, DecodedFrame(numbered, size), filmed_at)
        reason = f"it ended after {(place + 1) / fps:.1f} s"
    except (av.FFmpegError, OSError) as error:
        reason = _reason(error)
    raise _error(source, f"the camera stopped: {reason}" if size else "the camera sends no frames")


class Grid:
    """Places of frames on a grid of 1 / fps seconds, by the times at which they were filmed."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._start_s: float | None = None
        self._following = 0

    def place(self, time_s: float) -> int | None:
        """The place of a frame: the next one unless its time contradicts that.

        Returns:
          The place, or None for a frame too many, of a camera that is faster than it says.
        """
        if self._start_s is None or (time_s - self._start_s + 1) * self._fps < self._following:
            self._start_s = time_s - self._following / self._fps  # the clock was set back
        late = (time_s - self._start_s) * self._fps - self._following
        if late < -_LARGEST_JITTER:
            return None
        place = self._following + (round(late) if late > _LARGEST_JITTER else 0)
        self._following = place + 1
        return place


def _error(source: str, message: str) -> UserError:
    return UserError(f"--camera={shown(source)}: {message}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
