"""Reading and writing of videos (PyAV).

A truncated video is refused and never shortened silently: released code bases of the field replace or shorten such
clips, and their users ask why scores differ. FFmpeg alone does not report them, since it hides damaged macroblocks and
ends early without an error. Four things are therefore checked: the boxes of the mp4 file, damaged packets, the
decoder's own errors and the number of frames.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from musclemap_jax.data.raw.jpeg_planes import JpegPlanes, jpeg_planes

SHORT_SIDE_PX = 256

_MIN_FRACTION_OF_FRAMES = 0.9
"""Variable frame rates and edit lists make the container's count inexact; below this fraction a video is truncated."""

_MAX_FPS = 1000

_SAME_BYTES = "cpu-independent=1:mbtree=0"
"""On a CPU with AVX-512, x264 (core 165) gave different bytes from run to run: its macroblock tree is inexact there."""

_CONTENT_BOXES = (b"moov", b"mdat", b"moof")


class VideoError(ValueError):
    """A video that cannot be read completely; the message is one line that says why."""


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
      source_size: (height, width) in pixels of the video's first frame as a player shows it, rotation applied.
      turns: Number of anticlockwise quarter turns that a player applies to it.
    """

    _frame: av.VideoFrame
    source_size: tuple[int, int]
    turns: int

    def image(self, short_side: int, pixel_format: str = "rgb24") -> np.ndarray | JpegPlanes:
        """The frame as an image; the arguments are those of `read_video`."""
        coded_size = (self._frame.height, self._frame.width)
        size = scaled_size(self.source_size, short_side)
        by_planes = pixel_format == "yuvj420p"
        # Turning planes of odd sizes would lose half a pixel of colour.
        if by_planes and not self.turns and (planes := jpeg_planes(self._frame, size, _SCALE)):
            return planes
        array_format = "rgb24" if by_planes else pixel_format
        coded_target = size[::-1] if self.turns % 2 else size
        flags = _CONVERT if array_format == "rgb24" and coded_target == coded_size else _SCALE
        image = self._frame.to_ndarray(
            format=array_format, height=coded_target[0], width=coded_target[1], interpolation=flags, threads=1
        )
        return np.ascontiguousarray(np.rot90(image, self.turns)) if self.turns else image


@dataclasses.dataclass(frozen=True)
class SourceVideo:
    """A video that is being decoded.

    Attributes:
      fps: Frames per second, on average.
      source_size: (height, width) in pixels as a player shows it, rotation applied.
      expected_frames: Number of frames that the container states; inexact, 0 if it states none.
      frames: Yields the frames as `Video.frames` does.
    """

    fps: float
    source_size: tuple[int, int]
    expected_frames: int
    frames: Iterator[DecodedFrame]


def open_video(path: str | Path) -> SourceVideo:
    """Opens a video; frames are decoded one by one as they are asked for, on one thread.

    Args:
      path: A video file.

    Raises:
      VideoError: Absent, empty, not a video, without frames or truncated.
    """
    path = Path(path)
    _check_boxes(path)
    decoded = _decode(path)
    fps, expected_frames = next(decoded)
    first = next(decoded, None)
    if first is None:
        raise VideoError("no frames")
    turns = _quarter_turns(first)
    coded_size = (first.height, first.width)
    source_size = coded_size[::-1] if turns % 2 else coded_size

    def frames() -> Iterator[DecodedFrame]:
        count = 0
        for frame in itertools.chain([first], decoded):
            yield DecodedFrame(frame, source_size, turns)
            count += 1
        if count < _MIN_FRACTION_OF_FRAMES * expected_frames:
            raise VideoError(f"truncated: the file states {expected_frames} frames, {count} could be decoded")

    return SourceVideo(fps, source_size, expected_frames, frames())


def read_video(path: str | Path, short_side: int = SHORT_SIDE_PX, pixel_format: str = "rgb24") -> Video:
    """Opens a video and yields its frames as images of one size.

    Args:
      path: A video file.
      short_side: Pixels of the frames' short side; the aspect is kept; smaller videos keep their size.
      pixel_format: FFmpeg's name of the frames' format: ``rgb24``, ``gray`` (H, W), or ``yuvj420p``, which gives
        JpegPlanes if the video's frames are stored that way and upright, and RGB otherwise.

    Returns:
      The video. Rotation metadata (phones) is applied. Non-square pixels are left as they are stored.

    Raises:
      VideoError: As in `open_video`.
    """
    source = open_video(path)
    images = (frame.image(short_side, pixel_format) for frame in source.frames)
    return Video(source.fps, source.source_size, scaled_size(source.source_size, short_side), images)


def count_stored_pixels(path: str | Path, short_side: int = SHORT_SIDE_PX) -> int:
    """Pixels of all frames that ``read_video`` would yield, according to the file's header; decodes nothing.

    Raises VideoError if the header cannot be read.
    """
    with _open(Path(path)) as (stream, rate):
        height, width = scaled_size((stream.height, stream.width), short_side)
        return _expected_frames(stream, rate) * height * width


def count_frames(path: str | Path) -> int:
    """Number of frames of a video according to its header, which may be off a little; 0 where the header has none.

    Raises:
      VideoError: The header cannot be read.
    """
    with _open(Path(path)) as (stream, rate):
        return _expected_frames(stream, rate)


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


def _check_boxes(path: Path) -> None:
    """Raises VideoError if the file is absent or empty, or if a box of an mp4 file runs past its end."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes == 0:
            raise VideoError("empty file")
        with path.open("rb") as file:
            start, seen = 0, set()
            while start + 8 <= num_bytes:
                file.seek(start)
                head = file.read(16)
                kind, length = head[4:8], int.from_bytes(head[:4], "big")
                if start == 0 and kind != b"ftyp":
                    return  # another container, which its demuxer checks
                seen.add(kind)
                if length == 1:  # 64-bit length
                    length = int.from_bytes(head[8:16], "big")
                if length < 8:  # 0: to the end of the file
                    break
                start += length
                if start > num_bytes and kind in _CONTENT_BOXES:
                    raise VideoError(f"truncated: {start - num_bytes} bytes of box '{kind.decode()}' are missing")
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    if b"moov" not in seen:
        raise VideoError("truncated: the mp4 file has no index (box 'moov')")


@contextlib.contextmanager
def _open(path: Path) -> Generator[tuple[av.VideoStream, Fraction]]:
    """The first video stream of a file and its frame rate; turns FFmpeg's errors into VideoError."""
    try:
        # Without the protocol, FFmpeg takes a name such as `http:x.mp4` for an address.
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError("no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise VideoError("no decoder for its codec")
            rate = stream.average_rate or stream.guessed_rate
            if not rate or not 0 < rate <= _MAX_FPS:
                raise VideoError(f"damaged: a frame rate of {rate} fps")
            if not stream.height or not stream.width:
                raise VideoError(f"damaged: frames of {stream.width}x{stream.height} pixels")
            yield stream, rate
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VideoError(f"cannot be decoded: {reason}") from error


def _decode(path: Path) -> Iterator:
    """Yields (fps, expected number of frames), then av.VideoFrame after av.VideoFrame.

    Raises VideoError at the first packet that is damaged.
    """
    with _open(path) as (stream, rate):
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        # By default the decoder conceals what it cannot read; here that is an error.
        stream.codec_context.options = {"err_detect": "explode"}
        yield float(rate), _expected_frames(stream, rate)
        for packet in stream.container.demux(stream):  # ty: ignore[missing-attribute]  # an input container
            if packet.is_corrupt:
                raise VideoError("truncated or damaged: a packet is incomplete")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise VideoError("truncated or damaged: a frame could not be decoded completely")
                yield frame


def _expected_frames(stream: av.VideoStream, rate: Fraction) -> int:
    """The container's number of frames, or of those shown if an edit list cuts the stream."""
    if not stream.duration or not stream.time_base:
        return stream.frames
    shown = int(stream.duration * stream.time_base * rate)
    return min(stream.frames, shown) if stream.frames else shown


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Number of anticlockwise quarter turns that a player applies to the frame."""
    return round(frame.rotation / 90) % 4
