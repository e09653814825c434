"""Whether a video file is all there, by the lengths that its container states; nothing is decoded.

FFmpeg plays what is left of a file without an error. Sources: ISO/IEC 14496-12, 4.2 (boxes of mp4 and QuickTime); RFC
8794, section 6 (elements of Matroska and WebM); Microsoft's AVI RIFF file reference; the ASF specification, section
2.1; RFC 3533, section 6 (pages of Ogg); ISO/IEC 13818-1, 2.4.3.2 (packets of MPEG-TS).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from musclemap_jax.storage.regular_file import check_regular_file

_HEAD_BYTES = 24
_CONTENT_BOXES = ("moov", "mdat", "moof")
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_OGG_TAIL_BYTES = 65307
"""The longest page."""

_TS_SYNC = 0x47
_TS_PACKETS = {188: 0, 192: 4}
"""Lengths of a packet, the second on discs and of cameras, and the place of its first byte."""

_ZERO_TAIL_BYTES = 2048
"""MPEG program streams may fill their last sector of that size with zeros."""

_RIFF_SLACK_BYTES = 8
"""Some programs count the head of the file too."""


class VideoError(ValueError):
    """A video that cannot be read completely; the message is one line that says why."""


def check_complete(path: Path) -> None:
    """Raises VideoError if a file is absent, empty, shorter than it states or filled with zeros at its end."""
    try:
        check_regular_file(path)
        num_bytes = path.stat().st_size
        if num_bytes == 0:
            raise VideoError("empty file")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if head[4:8] in _FIRST_BOXES:
                _check_boxes(file, num_bytes)
                return  # the last box may be empty space
            if head.startswith(b"\x1a\x45\xdf\xa3"):
                _check_parts(file, num_bytes, _element_bytes, "Matroska")
            elif head.startswith(b"RIFF") and head[8:12] == b"AVI ":
                _check_parts(file, num_bytes, _riff_bytes, "AVI", _RIFF_SLACK_BYTES)
            elif head.startswith(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
                _check_parts(file, num_bytes, _asf_bytes, "ASF")
            elif head.startswith(b"OggS"):
                _check_ogg_end(file, num_bytes)
            else:
                _check_transport_stream(file, num_bytes)
            _check_zero_tail(file, num_bytes)
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error


def _check_boxes(file: BinaryIO, num_bytes: int) -> None:
    start, seen = 0, set()
    while start + 8 <= num_bytes:
        head = _head_at(file, start)
        kind, length = head[4:8].decode("latin-1"), int.from_bytes(head[:4], "big")
        seen.add(kind)
        if length == 1:  # 64-bit length
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file
            break
        start += length
        if start > num_bytes and kind in _CONTENT_BOXES:
            raise VideoError(f"truncated: {start - num_bytes} bytes of box '{kind}' are missing")
    if "moov" not in seen:
        raise VideoError("truncated: the mp4 file has no index (box 'moov')")


def _check_parts(
    file: BinaryIO, num_bytes: int, part_bytes: Callable[[bytes], int], name: str, slack_bytes: int = 0
) -> None:
    """Goes from part to part of a file.

    Args:
      file: The file.
      num_bytes: Its length.
      part_bytes: Length of a part by its first bytes; 0 where it is not stated, as in a live recording.
      name: The container, for the error.
      slack_bytes: Number of bytes that may be missing.
    """
    start = 0
    while start < num_bytes and (length := part_bytes(_head_at(file, start))):
        start += length
    if start > num_bytes + slack_bytes:
        raise VideoError(f"truncated: {start - num_bytes} of {start} bytes of the {name} file are missing")


def _element_bytes(head: bytes) -> int:
    """Matroska: an identifier and a length, each with its own length in the leading zero bits."""
    id_bytes = 9 - head[0].bit_length()
    if id_bytes > 4 or len(head) < id_bytes + 8:
        return 0
    size_bytes = 9 - head[id_bytes].bit_length()
    unknown = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & unknown
    return 0 if size == unknown or size_bytes > 8 else id_bytes + size_bytes + size


def _riff_bytes(head: bytes) -> int:
    size = int.from_bytes(head[4:8], "little")
    return 8 + size + size % 2 if head.startswith(b"RIFF") and size else 0


def _asf_bytes(head: bytes) -> int:
    size = int.from_bytes(head[16:24], "little")
    return size if len(head) == _HEAD_BYTES and size >= _HEAD_BYTES else 0


def _check_ogg_end(file: BinaryIO, num_bytes: int) -> None:
    file.seek(max(0, num_bytes - _OGG_TAIL_BYTES))
    tail = file.read()
    last = tail[tail.rfind(b"OggS") :]
    if not last.startswith(b"OggS") or len(last) < 6 or not last[5] & 4:
        raise VideoError("truncated: the Ogg file has no last page")


def _check_transport_stream(file: BinaryIO, num_bytes: int) -> None:
    """MPEG: packets of one length, of which only a cut through one can be seen."""
    file.seek(0)
    head = file.read(2 * max(_TS_PACKETS))
    for length, sync in _TS_PACKETS.items():
        if len(head) > sync + length and head[sync] == head[sync + length] == _TS_SYNC and num_bytes % length:
            raise VideoError(f"truncated: the last packet (MPEG-TS) has {num_bytes % length} of {length} bytes")


def _check_zero_tail(file: BinaryIO, num_bytes: int) -> None:
    if num_bytes > _ZERO_TAIL_BYTES:
        file.seek(-_ZERO_TAIL_BYTES - 1, 2)
        if not any(file.read()):
            raise VideoError("truncated: the file ends in zeros, as a download that stopped leaves it")


def _head_at(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(_HEAD_BYTES)
