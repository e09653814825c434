"""The packets of a video file, read before any of them is decoded.

They tell which stream is the video, when its frames are shown, and what is missing or damaged as far as the container
and the coding say. Imports PyAV and numpy alone: the pose estimators' processes read videos by it too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

import av
import numpy as np
from av.container import InputContainer

from musclemap_jax.data.raw.h264_references import ReferenceCounter
from musclemap_jax.data.raw.truncation import VideoError

MIN_FRACTION = 0.9
"""Lengths that containers state are inexact; a video that has less than this fraction is truncated."""

_MAX_FPS = 1000
_MAX_GAP_S = 10.0
_MAX_KEPT_BYTES = 32 << 20
"""The packets of a smaller video are kept for decoding; those of a larger one are read again."""

_VP8_SHOWN = 0x10
"""RFC 6386, 9.1: `show_frame`."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of a video before it is decoded.

    Attributes:
      stream: The video among the streams: the one that a player would choose.
      packets: Its packets in the order of decoding; None if they are too large to keep.
      fps: Frames per second: the rate that the file states, or the mean one where the frames' times contradict it.
      is_variable: Whether frames are shown half a frame or more off a constant rate.
      num_frames: Number of frames to expect.
    """

    stream: av.VideoStream
    packets: tuple[av.Packet, ...] | None
    fps: float
    is_variable: bool
    num_frames: int


def survey(container: InputContainer) -> Survey:
    """Reads all packets of an opened file. Raises VideoError for a video that is damaged or without frames."""
    best = best_stream(container)
    logs = {stream.index: _PacketLog(stream) for stream in container.streams.video if stream.codec_context is not None}
    ends = dict.fromkeys(range(len(container.streams)), 0)
    for packet in container.demux():
        index = packet.stream.index  # the last packets' own number is 0
        start = packet.dts if packet.pts is None else packet.pts
        if start is not None and index in ends:  # streams may appear in mid-file
            ends[index] = max(ends[index], start + (packet.duration or 0))
        if index in logs:
            logs[index].add(packet)
    ends_s = {index: float(end * (container.streams[index].time_base or 0)) for index, end in ends.items()}
    log = logs[best.index]
    if log.num_packets <= 1:  # a thumbnail
        log = max(logs.values(), key=lambda other: other.num_packets)
    log.check(container, ends_s)
    fps, is_variable = _rate(log)
    return Survey(log.stream, log.kept, fps, is_variable, len(log.times_s) or log.num_packets)


def best_stream(container: InputContainer) -> av.VideoStream:
    """The stream that a player would choose according to the header. Raises VideoError if there is none."""
    stream = cast(av.VideoStream | None, container.streams.best("video"))
    if stream is None or stream.codec_context is None:
        raise VideoError("no decoder for its codec" if container.streams.video else "no video stream")
    if not stream.height or not stream.width:
        raise VideoError(f"damaged: frames of {stream.width}x{stream.height} pixels")
    return stream


def header_frames(container: InputContainer) -> int:
    """Number of frames that the header states, without those that an edit list hides; 0 if it states none."""
    stream = best_stream(container)
    if stream.duration and stream.time_base:
        length_s = float(stream.duration * stream.time_base)
    else:
        length_s = (container.duration or 0) / av.time_base
    shown = int(length_s * _header_rate(stream))
    return min(stream.frames, shown) if stream.frames and shown else stream.frames or shown


def _header_rate(stream: av.VideoStream) -> float:
    """Frames per second as the file states them; 0 if it states none or no possible ones."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate <= _MAX_FPS else 0.0


class _PacketLog:
    """What was seen of one stream's packets.

    Attributes:
      stream: The stream.
      num_packets: Number of packets with content.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self.stream = stream
        self.num_packets = 0
        self._fault = ""
        self._packets: list[av.Packet] = []
        self._num_bytes = 0
        self._pts: list[int | None] = []
        self._last_dts: int | None = None
        self._is_joined = False
        context = stream.codec_context
        self._codec = context.name
        self._counter = ReferenceCounter(context.extradata) if self._codec == "h264" else None
        self._raw_bytes = (stream.height or 0) * (stream.width or 0)

    def add(self, packet: av.Packet) -> None:
        """Takes the next packet."""
        self._num_bytes += packet.size
        if self._num_bytes <= _MAX_KEPT_BYTES:
            self._packets.append(packet)
        elif self._packets:
            self._packets.clear()
        if not packet.size:  # the end, or a frame that repeats the last one
            return
        self.num_packets += 1
        if packet.dts is not None:
            self._is_joined |= self._last_dts is not None and packet.dts < self._last_dts
            self._last_dts = packet.dts
        data = bytes(packet)
        self._fault = self._fault or self._fault_of(packet, data)
        if not packet.is_discard and not (self._codec == "vp8" and not data[0] & _VP8_SHOWN):
            self._pts.append(packet.pts)

    def _fault_of(self, packet: av.Packet, data: bytes) -> str:
        if packet.is_corrupt:
            return "truncated or damaged: a packet is incomplete"
        if data[-1] == 0 and packet.size < self._raw_bytes and not data.strip(b"\0"):
            return f"damaged: packet {self.num_packets - 1} is filled with zeros"
        if self._counter and self._counter.has_gap(data, packet.is_keyframe):
            return f"damaged: frames are lost before packet {self.num_packets - 1}, to which later ones refer"
        return ""

    @property
    def kept(self) -> tuple[av.Packet, ...] | None:
        """All packets, unless they were too large to keep."""
        return tuple(self._packets) if self._packets else None

    @property
    def times_s(self) -> np.ndarray:
        """Times in seconds at which frames are shown, ascending; empty if the file does not say."""
        known = [pts for pts in self._pts if pts is not None]
        if self._is_joined or len(known) < len(self._pts) or self.stream.time_base is None:
            return np.zeros(0)
        times = np.sort(np.array(known, np.float64)) * float(self.stream.time_base)
        return times if (np.diff(times) > 0).all() else np.zeros(0)

    def check(self, container: InputContainer, ends_s: Mapping[int, float]) -> None:
        """Raises VideoError if the stream is damaged or ends too early, by {stream: where it ends in seconds}."""
        if not self.num_packets:
            raise VideoError("no frames")
        if self._fault:
            raise VideoError(self._fault)
        # The length of a file is that of its longest stream.
        stated_s, reached_s = (container.duration or 0) / av.time_base, max(ends_s.values())
        # ASF gives every stream the length of the file.
        if self.stream.duration and self.stream.time_base and container.format.name != "asf":
            stated_s, reached_s = float(self.stream.duration * self.stream.time_base), ends_s[self.stream.index]
        if 0 < reached_s < MIN_FRACTION * stated_s:
            stated = round(self.num_packets * stated_s / reached_s)
            raise VideoError(f"truncated: the file states {stated} frames, {self.num_packets} are there")


def _rate(log: _PacketLog) -> tuple[float, bool]:
    """Frames per second, and whether they are a mean."""
    stated = _header_rate(log.stream)
    times = log.times_s
    if len(times) < 2:
        if not stated:
            raise VideoError(f"damaged: a frame rate of {log.stream.average_rate or log.stream.guessed_rate} fps")
        return stated, False
    gaps = np.diff(times)
    if gaps.max() > _MAX_GAP_S:
        place = int(gaps.argmax())
        raise VideoError(
            f"no frame for {gaps[place]:.0f} s after frame {place}: cut it there or convert it to a constant frame rate"
        )
    mean = float(1 / gaps.mean())
    if mean > _MAX_FPS:
        raise VideoError(f"damaged: a frame rate of {mean:.0f} fps")
    for fps in (stated, mean):
        offset = (times - times[0]) * fps - np.arange(len(times))
        if fps and np.ptp(offset) < 1:
            return fps, False
    return mean, True
