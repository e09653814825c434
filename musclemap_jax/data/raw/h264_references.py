"""Lost pictures inside an H.264 stream, which FFmpeg's decoder replaces by their neighbours without a sign of it.

Pictures that others refer to are numbered: a picture has the number of the reference picture before it or the next one,
unless the stream's parameters allow gaps. Source: ITU-T H.264 (08/2021), 7.3 (syntax), 7.4.3 (`frame_num`) and annex B.

A stream whose first picture refers to others lacks those too. A lost picture that no other refers to leaves no gap: it
is missing, and the others are right. Nothing is said at key frames, where streams may be joined, nor mostly at the
number 1, at which an operation of the standard counts again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_SLICE, _KEY_SLICE, _SEQUENCE, _PICTURE = 1, 5, 7, 8
_INTRA_SLICES = (2, 4)
_HEAD_BYTES = 32
"""Enough for the part of a slice's header that is read."""

_UNIT_BYTES = 1024
"""Enough for a sequence's parameters."""

_START_CODE = b"\0\0\1"

_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""Profiles whose parameters have the chroma format and scaling lists."""


class ReferenceCounter:
    """Follows the numbers of a stream's pictures, packet by packet in the order of decoding."""

    def __init__(self, extradata: bytes | None) -> None:
        """Takes the stream's parameters: an `avcC` box's content, or start codes as in the stream itself."""
        extradata = extradata or b""
        self._length_bytes = 1 + (extradata[4] & 3) if extradata[:1] == b"\x01" and len(extradata) > 6 else 0
        self._sequences: dict[int, tuple[int, bool]] = {}  # bits of a number, whether gaps are allowed
        self._pictures: dict[int, int] = {}  # its sequence
        self._last: int | None = None
        for unit in _avcc_units(extradata) if self._length_bytes else _start_code_units(extradata):
            self._read_parameters(unit)

    def has_gap(self, packet: bytes, is_key_frame: bool) -> bool:
        """Whether pictures that this packet's picture may refer to are missing before it."""
        units = _length_units(packet, self._length_bytes) if self._length_bytes else _start_code_units(packet)
        for unit in units:
            if unit[0] & 31 in (_SLICE, _KEY_SLICE):
                with contextlib.suppress(ValueError):  # the decoder will say so
                    return self._follows_gap(unit, is_key_frame)
                return False
            self._read_parameters(unit)
        return False

    def _follows_gap(self, unit: bytes, is_key_frame: bool) -> bool:
        bits = _Bits(unit[1:_HEAD_BYTES])
        bits.exp_golomb()  # the first macroblock
        is_intra = bits.exp_golomb() % 5 in _INTRA_SLICES
        number_bits, allows_gaps = self._sequences.get(self._pictures.get(bits.exp_golomb(), -1), (0, True))
        if allows_gaps:
            return False
        number = bits.read(number_bits)
        last, is_reference = self._last, unit[0] & 0x60
        if is_reference or is_key_frame:
            self._last = number
        highest = (1 << number_bits) - 1
        if last is None:
            return not is_key_frame and not is_intra
        if is_key_frame or (number == 1 and last != highest):
            return False
        return number not in (last, (last + 1) & highest)

    def _read_parameters(self, unit: bytes) -> None:
        kind = unit[0] & 31
        with contextlib.suppress(ValueError):
            if kind == _SEQUENCE:
                sequence, parameters = _sequence_parameters(_Bits(unit[1:]))
                self._sequences[sequence] = parameters
            elif kind == _PICTURE:
                bits = _Bits(unit[1:_HEAD_BYTES])
                picture = bits.exp_golomb()
                self._pictures[picture] = bits.exp_golomb()


class _Bits:
    """Reads numbers from bytes, bit by bit."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")  # the 3 keeps start codes out of the data
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("the data end early")
        return self._value >> self._left & (1 << count) - 1

    def exp_golomb(self) -> int:
        """As many zeros as there are further bits after the first one."""
        rest = self._value & (1 << self._left) - 1
        zeros = self._left - rest.bit_length()
        return self.read(2 * zeros + 1) - 1

    def skip_exp_golomb(self, count: int) -> None:
        for _ in range(count):
            self.exp_golomb()


def _sequence_parameters(bits: _Bits) -> tuple[int, tuple[int, bool]]:
    """Number of a sequence's parameters; the bits of `frame_num`, and whether gaps in it are allowed."""
    profile = bits.read(8)
    bits.read(16)  # constraints, level
    sequence = bits.exp_golomb()
    if profile in _WITH_CHROMA:
        chroma_format = bits.exp_golomb()
        if chroma_format == 3:
            bits.read(1)
        bits.skip_exp_golomb(2)  # bits of a sample
        bits.read(1)
        if bits.read(1):
            for place in range(12 if chroma_format == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if place < 6 else 64)
    number_bits = bits.exp_golomb() + 4
    order_type = bits.exp_golomb()
    if order_type == 0:
        bits.exp_golomb()
    elif order_type == 1:
        bits.read(1)
        bits.skip_exp_golomb(2)
        bits.skip_exp_golomb(bits.exp_golomb())
    bits.exp_golomb()  # number of reference pictures
    return sequence, (number_bits, bool(bits.read(1)))


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    scale = 8
    for _ in range(size):
        code = bits.exp_golomb()
        scale = (scale + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        if scale == 0:
            return


def _avcc_units(extradata: bytes) -> Iterator[bytes]:
    """Parameters in an `avcC` box: a count and units with lengths of two bytes, twice."""
    place = 5
    for mask in (31, 255):
        count = extradata[place] & mask if place < len(extradata) else 0
        place += 1
        for _ in range(count):
            length = int.from_bytes(extradata[place : place + 2], "big")
            unit = extradata[place + 2 : place + 2 + length]
            if unit:
                yield unit
            place += 2 + length


def _length_units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    """The beginnings of a packet's units, each behind its length."""
    place = 0
    while place + length_bytes < len(packet):
        length = int.from_bytes(packet[place : place + length_bytes], "big")
        place += length_bytes
        if length:
            yield packet[place : place + min(length, _UNIT_BYTES)]
        place += length


def _start_code_units(data: bytes) -> Iterator[bytes]:
    """The beginnings of a packet's units, each behind a start code."""
    place = data.find(_START_CODE)
    while 0 <= place < len(data) - len(_START_CODE):
        place += len(_START_CODE)
        yield data[place : place + _UNIT_BYTES]
        place = data.find(_START_CODE, place)
