"""Decoding of a video frame by frame, in the order of time, with what is damaged named.

FFmpeg's decoders conceal what they cannot read; here that is an error. Imports PyAV and numpy alone: the pose
estimators' processes read videos by it too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer

from musclemap_jax.data.raw.display_matrix import Orientation, orientation
from musclemap_jax.data.raw.packets import MIN_FRACTION, Survey, survey
from musclemap_jax.data.raw.truncation import VideoError, check_complete
from musclemap_jax.storage.regular_file import check_regular_file

_SAME_ASPECT = 0.03
"""Relative difference up to which frames of two sizes have the same shape: sizes are rounded to 16 pixels."""


_REFERRING = frozenset({"concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vobsub"})
"""Formats whose files name other files or addresses, which FFmpeg would open: a stranger's video that is such a list,
whatever its name, could show any other video of this machine."""

_FORMATS = ",".join(sorted(av.formats_available - _REFERRING))


class NumberedFrame(NamedTuple):
    """A decoded frame, its number among the decoded ones from 0, and how a player shows it."""

    number: int
    frame: av.VideoFrame
    orientation: Orientation

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels as a player shows it."""
        return self.orientation.size((self.frame.height, self.frame.width))


@contextlib.contextmanager
def opened(path: Path) -> Generator[InputContainer]:
    """A video file; turns FFmpeg's errors into VideoError."""
    try:
        check_regular_file(path)
        # Without the protocol, FFmpeg takes a name such as `http:x.mp4` for an address.
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        with av.open(f"file:{path}", metadata_errors="replace", options=options) as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VideoError(f"cannot be decoded: {reason}") from error


def decode(path: Path) -> tuple[Survey, Iterator[NumberedFrame]]:
    """Opens a video; frames are decoded one by one as they are asked for, on one thread.

    Raises VideoError if the file is absent or no video, or is known to be damaged; the iterator raises it where the
    video breaks or turns, possibly after its last frame.
    """
    check_complete(path)
    steps = _decode(path)
    found = next(steps)
    return found, steps


def at_constant_rate(frames: Iterable[NumberedFrame], fps: float) -> Iterator[NumberedFrame]:
    """Frames of a variable rate at a constant one, as many: those shown in the middle of each 1 / fps seconds."""
    latest, start_s, time_s, num_shown = None, 0.0, 0.0, 0
    for following in frames:
        time_s = max(time_s, following.frame.time or 0.0) if latest else following.frame.time or 0.0
        if latest is None:
            start_s = time_s
        else:
            while start_s + (num_shown + 0.5) / fps < time_s:
                yield latest
                num_shown += 1
        latest = following
    while latest and start_s + (num_shown - 0.5) / fps < time_s:
        yield latest
        num_shown += 1


def _decode(path: Path) -> Iterator:
    """Yields the survey, then the frames."""
    with opened(path) as container:
        found = survey(container)
        yield found
        index = found.stream.index
        if found.packets is not None:
            yield from _frames(found.stream, found.packets, found.num_frames)
            return
    with opened(path) as container:
        (stream,) = (each for each in container.streams.video if each.index == index)
        yield from _frames(stream, container.demux(stream), found.num_frames)


def _frames(stream: av.VideoStream, packets: Iterable[av.Packet], expected: int) -> Iterator[NumberedFrame]:
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    # By default the decoder conceals what it cannot read.
    stream.codec_context.options = {"err_detect": "explode"}
    first = latest = None
    count = 0
    for packet in packets:
        for frame in packet.decode():
            if frame.is_corrupt:
                raise VideoError("truncated or damaged: a frame could not be decoded completely")
            # The matrix comes with key frames; reading it costs as much as some frames' decoding.
            if latest is None or frame.key_frame or frame.rotation != latest.frame.rotation:
                latest = NumberedFrame(count, frame, orientation(frame))
            else:
                latest = NumberedFrame(count, frame, latest.orientation)
            first = first or latest
            _check_same_view(first, latest)
            yield latest
            count += 1
    if not count:
        raise VideoError("no frames")
    if count < MIN_FRACTION * expected:
        raise VideoError(f"truncated: the file states {expected} frames, {count} could be decoded")


def _check_same_view(first: NumberedFrame, frame: NumberedFrame) -> None:
    """Raises VideoError if the picture was turned or cut in another way; another size of the same picture is fine."""
    if frame.size == first.size and frame.orientation == first.orientation:
        return
    (height, width), (first_height, first_width) = frame.size, first.size
    aspect_change = abs(width * first_height / (height * first_width) - 1)
    if frame.orientation != first.orientation or aspect_change > _SAME_ASPECT:
        raise VideoError(
            f"frame {frame.number} is turned or cut: {width}x{height} after {first_width}x{first_height} pixels: "
            "the screen was turned while recording? cut the video there"
        )
