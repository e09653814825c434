"""Reading and writing of videos (PyAV).

A truncated or damaged video is refused and never shortened silently: released code bases of the field replace or
shorten such clips, and their users ask why scores differ. FFmpeg alone does not report them, since it hides damaged
macroblocks and ends early without an error. Checked are the lengths that the container states (`truncation`), the
packets (`packets`), the decoder's errors and the number of frames (`decoding`).

A video of variable frame rate is resampled by time to its mean rate: it keeps its number of frames, and frame k is the
one that a player shows in the middle of the k-th interval. So models see motion at its speed, and to sample frames and
poses by number is to sample them by time.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from musclemap_jax.data.raw.decoding import NumberedFrame, at_constant_rate, decode, opened
from musclemap_jax.data.raw.display_matrix import UPRIGHT
from musclemap_jax.data.raw.jpeg_planes import JpegPlanes, jpeg_planes
from musclemap_jax.data.raw.packets import best_stream, header_frames
from musclemap_jax.data.raw.truncation import VideoError as VideoError

SHORT_SIDE_PX = 256
MIN_SIDE_PX = 16
"""Smaller frames show nothing, and libraries fail on them: JPEG encoders, and OpenCV's flow by ending the process."""

_SAME_BYTES = "cpu-independent=1:mbtree=0"
"""On a CPU with AVX-512, x264 (core 165) gave different bytes from run to run: its macroblock tree is inexact there."""


@dataclasses.dataclass(frozen=True)
class Video:
    """A video that is being read.

    Attributes:
      fps: Frames per second, on average.
      source_size: (height, width) in pixels as a player shows it, rotation applied.
      size: (height, width) of the frames in `frames`.
      frames: Yields the frames in the order of time, uint8 (H, W, 3) RGB unless another format was asked for; can be
        iterated over once. Raises VideoError where the video breaks, possibly after its last frame: the frames are
        valid only once the iterator has ended.
    """

    fps: float
    source_size: tuple[int, int]
    size: tuple[int, int]
    frames: Iterator[np.ndarray | JpegPlanes]


@dataclasses.dataclass(frozen=True)
class DecodedFrame:
    """A frame as the decoder gave it; it is scaled and converted when an image of it is asked for.

    Attributes:
      source_size: (height, width) in pixels of the video's first frame as a player shows it.
      number: Its number among the decoded frames, from 0; pose estimators count these.
    """

    _decoded: NumberedFrame
    source_size: tuple[int, int]

    @property
    def number(self) -> int:
        return self._decoded.number

    def image(self, short_side: int, pixel_format: str = "rgb24") -> np.ndarray | JpegPlanes:
        """The frame as an image; the arguments are those of `read_video`."""
        _, frame, orientation = self._decoded
        size = scaled_size(self.source_size, short_side)
        by_planes = pixel_format == "yuvj420p"
        # Turning planes of odd sizes would lose half a pixel of colour.
        if by_planes and orientation == UPRIGHT and (planes := jpeg_planes(frame, size, _SCALE)):
            return planes
        array_format = "rgb24" if by_planes else pixel_format
        height, width = orientation.size(size)
        flags = _CONVERT if array_format == "rgb24" and (height, width) == (frame.height, frame.width) else _SCALE
        return orientation.shown(
            frame.to_ndarray(format=array_format, height=height, width=width, interpolation=flags, threads=1)
        )


@dataclasses.dataclass(frozen=True)
class SourceVideo:
    """A video that is being decoded.

    Attributes:
      fps: Frames per second.
      has_variable_rate: Whether the file's frames have no constant rate; `frames` then repeats some and leaves out
        others.
      source_size: (height, width) in pixels as a player shows it.
      expected_frames: Number of frames according to the packets; inexact in a few formats.
      frames: Yields the frames as `Video.frames` does.
    """

    fps: float
    has_variable_rate: bool
    source_size: tuple[int, int]
    expected_frames: int
    frames: Iterator[DecodedFrame]


def open_video(path: str | Path, by_time: bool = True) -> SourceVideo:
    """Opens a video; frames are decoded one by one as they are asked for, on one thread.

    Args:
      path: A video file.
      by_time: Whether a variable frame rate is resampled to its mean; otherwise every frame is yielded once.

    Raises:
      VideoError: Absent, empty, not a video, without frames, with frames that are too small, truncated or damaged.
    """
    found, decoded = decode(Path(path))
    first = next(decoded)
    if min(first.size) < MIN_SIDE_PX:
        height, width = first.size
        raise VideoError(f"expected frames of at least {MIN_SIDE_PX}x{MIN_SIDE_PX} pixels, got {width}x{height}")
    frames: Iterator[NumberedFrame] = itertools.chain([first], decoded)
    if by_time and found.is_variable:
        frames = at_constant_rate(frames, found.fps)
    images = (DecodedFrame(frame, first.size) for frame in frames)
    return SourceVideo(found.fps, found.is_variable, first.size, found.num_frames, images)


def read_video(
    path: str | Path, short_side: int = SHORT_SIDE_PX, pixel_format: str = "rgb24", by_time: bool = True
) -> Video:
    """Opens a video and yields its frames as images of one size.

    Args:
      path: A video file.
      short_side: Pixels of the frames' short side; the aspect is kept; smaller videos keep their size.
      pixel_format: FFmpeg's name of the frames' format: ``rgb24``, ``gray`` (H, W), or ``yuvj420p``, which gives
        JpegPlanes if the video's frames are stored that way and upright, and RGB otherwise.
      by_time: As in `open_video`.

    Returns:
      The video, turned and mirrored as a player shows it (phones). Non-square pixels are left as they are stored.

    Raises:
      VideoError: As in `open_video`.
    """
    source = open_video(path, by_time)
    images = (frame.image(short_side, pixel_format) for frame in source.frames)
    return Video(source.fps, source.source_size, scaled_size(source.source_size, short_side), images)


def count_stored_pixels(path: str | Path, short_side: int = SHORT_SIDE_PX) -> int:
    """Pixels of all frames that ``read_video`` would yield, according to the file's header; decodes nothing.

    Raises VideoError if the header cannot be read.
    """
    with opened(Path(path)) as container:
        stream = best_stream(container)
        height, width = scaled_size((stream.height, stream.width), short_side)
        return header_frames(container) * height * width


def count_frames(path: str | Path) -> int:
    """Number of frames of a video according to its header, which may be off a little; 0 where the header has none.

    Raises:
      VideoError: The header cannot be read.
    """
    with opened(Path(path)) as container:
        return header_frames(container)


@functools.cache  # it is asked for with every frame
def scaled_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(height, width) scaled to a short side in pixels, keeping the aspect; never enlarged."""
    scale = min(1.0, short_side / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def encode_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    crf: int = 23,
    preset: str = "veryfast",
    faststart: bool = False,
) -> None:
    """Writes an h264 mp4 file; the same frames and arguments give the same bytes with the same FFmpeg.

    Args:
      path: File to write; its folder must exist.
      frames: At least one uint8 (H, W, 3) RGB frame, or (T, H, W, 3); H and W are even.
      fps: Frames per second.
      crf: Quality, 0 (lossless) to 51; 23 is x264's default.
      preset: x264's speed preset.
      faststart: Whether the index comes before the frames, as in videos on the web.

    Raises:
      ValueError: No frames, odd or changing size, or not uint8.
    """
    rate = Fraction(fps).limit_denominator(1001)
    stream, size = None, None
    options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if faststart else {})
    with av.open(str(path), "w", format="mp4", options=options) as container:
        for image in frames:
            if stream is None:
                size = image.shape
                if len(size) != 3 or size[2] != 3 or size[0] % 2 or size[1] % 2:
                    raise ValueError(f"expected frames (H, W, 3) with H and W even, got {size}")
                codec_options = {"crf": str(crf), "preset": preset, "x264-params": _SAME_BYTES}
                stream = container.add_stream("libx264", rate=rate, options=codec_options)
                stream.height, stream.width, stream.pix_fmt = size[0], size[1], "yuv420p"
                # One thread: x264's frame threads change its rate control and so the bytes.
                stream.codec_context.thread_count = 1
            if image.shape != size or image.dtype != np.uint8:
                raise ValueError(f"expected uint8 frames of {size}, got {image.dtype} {image.shape}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", interpolation=_SCALE, threads=1)))
        if stream is None:
            raise ValueError("expected at least one frame, got none")
        container.mux(stream.encode())


_CONVERT = int(Interpolation.AREA | Interpolation.BITEXACT)
"""For conversion to RGB at the video's own size. Each colour sample is copied to its four pixels, whose mean the JPEG
encoder then takes, so that nothing is lost, unlike with interpolation. Accurate rounding would need FFmpeg's scaler,
which takes four times as long and half as long again as the decoding itself."""

_SCALE = int(_CONVERT | Interpolation.ACCURATE_RND)
"""Area averaging avoids aliasing where a large video is scaled down; bit-exact code gives every CPU the same bytes."""
