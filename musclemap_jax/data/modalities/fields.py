"""The kinds of fields that a record of the prepared data has, described without the library that stores them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from musclemap_jax.data.images import decode_grey_jpeg, decode_jpeg, decode_png
from musclemap_jax.errors import UserError

ClipRecord = dict[str, Any]
"""A prepared clip: {field: value} of `COMMON_FIELDS` and of the fields of the stored modalities.

A `Text` is str, `Images` are a sequence of T encoded images (bytes), an `Array` is a numpy array and a float where it
has no axis.
"""

_DECODERS = {(3, "jpeg"): decode_jpeg, (1, "jpeg"): decode_grey_jpeg, (3, "png"): decode_png}


@dataclasses.dataclass(frozen=True)
class Text:
    """A string."""


@dataclasses.dataclass(frozen=True)
class Images:
    """One image per frame, all of one size: 3 channels (RGB) or 1 (grey), encoded as ``jpeg`` or ``png``."""

    channels: int
    encoding: str

    def decode(self, data: bytes) -> np.ndarray:
        """uint8 (H, W, 3) RGB, or (H, W) grey. Raises ValueError or cv2.error for something else."""
        return _DECODERS[self.channels, self.encoding](data)


@dataclasses.dataclass(frozen=True)
class Array:
    """A numpy array of 32-bit floats or integers.

    The shape has None for an axis whose length differs between clips; several of them need compression (zlib).
    """

    shape: tuple[int | None, ...]
    dtype: str
    compressed: bool = False


Field = Text | Images | Array

COMMON_FIELDS: dict[str, Field] = {
    "clip_id": Text(),
    "activity": Text(),
    "muscles": Array((None,), "uint8"),
    "fps": Array((), "float32"),
}
"""Fields of every record; ``muscles`` (K,) is 1 where the region is active."""


def field_of(record: ClipRecord, name: str) -> Any:
    """A field of a record. Raises UserError if the prepared data does not store it."""
    if name not in record:
        raise UserError(
            f"prepared data: expected records with {name!r}, got {', '.join(sorted(record))}: "
            "build it with a configuration that has this modality, such as multimodal"
        )
    return record[name]


def text(value: str | bytes) -> str:
    """Text of a record, which TFDS's own data source gives as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
