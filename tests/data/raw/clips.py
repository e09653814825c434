"""Clips whose frames say their number, written with FFmpeg's encoders in any container."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH = 48, 64
FPS = 30
_BITS = 6
_TIME_BASE = Fraction(1, 1000)


def image(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """uint8 (H, W, 3): a bar code of the number in the middle, noise above and below."""
    height, width = size
    pixels = np.random.default_rng(number).integers(90, 166, (height, width, 3), np.uint8)
    bits = np.array([255 * (number >> bit & 1) for bit in range(_BITS)], np.uint8)
    pixels[height // 3 : -height // 3] = np.repeat(bits, -(-width // _BITS))[:width, None]
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame shows, (H, W, 3) or (H, W)."""
    row = pixels.reshape(*pixels.shape[:2], -1)[pixels.shape[0] // 2, :, 0]
    bar = len(row) / _BITS
    return sum(int(row[int((bit + 0.5) * bar)] > 128) << bit for bit in range(_BITS))


def write_clip(
    path: Path,
    numbers: Iterable[int] = range(60),
    codec: str = "libx264",
    times_s: Sequence[float] | None = None,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    pixel_format: str = "yuv420p",
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Writes a clip of 30 fps, or whose frames have the times given; returns its path.

    Args:
      path: The file; its suffix chooses the container.
      numbers: What the frames say.
      codec: FFmpeg's encoder.
      times_s: Times of the frames in seconds.
      size: (height, width).
      pixel_format: The encoder's.
      container: Options of the container.
      **options: Options of the encoder; `_` stands for `-`.
    """
    options = {name.replace("_", "-"): value for name, value in options.items()}
    with av.open(str(path), "w", options=container or {}) as target:
        stream = target.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, pixel_format
        stream.codec_context.thread_count = 1
        if times_s is not None:
            stream.codec_context.time_base = _TIME_BASE
        for place, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(image(number, size), format="rgb24").reformat(format=pixel_format)
            if times_s is not None:
                frame.pts, frame.time_base = round(times_s[place] * 1000), _TIME_BASE
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    return path


def copy_without(source: Path, target: Path, dropped: set[int]) -> Path:
    """Copies a clip without some of its packets; returns the copy's path."""
    with av.open(str(source)) as original, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(original.streams.video[0])
        for number, packet in enumerate(original.demux(video=0)):
            if packet.dts is not None and number not in dropped:
                packet.stream = stream
                copy.mux(packet)
    return target


def with_matrix(source: Path, matrix: tuple[int, int, int, int], target: Path) -> Path:
    """Copies an mp4 file with another display matrix a, b, c, d of its track; returns the copy's path."""
    data = bytearray(source.read_bytes())
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    place = data.index(identity, data.index(b"tkhd"))
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + len(identity)] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target
