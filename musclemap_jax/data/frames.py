"""Decoding of a clip's sampled JPEG frames, cropped and resized."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg

from musclemap_jax.data.augmentation import Box
from musclemap_jax.data.images import decode_jpeg

_STRONG_DOWNSCALE = 2.0
"""Above this ratio, linear interpolation skips pixels and area averaging is used."""


class FrameError(ValueError):
    """A frame that cannot be decoded; the message says which."""


def frame_size(jpeg: bytes, index: int) -> tuple[int, int]:
    """(height, width) in pixels of frame number ``index``, from its header alone. Raises FrameError if not a JPEG."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError as error:
        raise FrameError(f"frame {index}: not a JPEG image: {error}") from error
    return int(height), int(width)


def decode_frames(jpegs: Sequence[bytes], indices: np.ndarray, boxes: Sequence[Box], video: np.ndarray) -> None:
    """Decodes, crops and resizes frames of a clip; a frame that is asked for several times is decoded once.

    A frame is decoded at 1/2, 1/4 or 1/8 of its size if the crop then still has as many pixels as the result. Scaling
    in the decoder costs less than full decoding and averages properly, so the pixels are closer to an area average of
    the full frame than those of a bilinear resize. (Ratios such as 5/8 cost more than full size, and the library has no
    cheap way to decode a part of the frame.)

    Args:
      jpegs: JPEG bytes of all the clip's frames, which have one size.
      indices: (C * N,) numbers of the frames to decode, the same N for each crop in turn.
      boxes: C crops of equal size in pixels of the stored frames; rounded to whole decoded pixels.
      video: (C * N, size, size, 3) uint8, contiguous; filled with RGB.

    Raises:
      FrameError: A frame is broken or differs in size from the first.
    """
    size = video.shape[1]
    indices = indices.reshape(len(boxes), -1)[0]
    by_crop = video.reshape(len(boxes), len(indices), *video.shape[1:], copy=False)
    first_size = frame_size(jpegs[int(indices[0])], int(indices[0]))
    shortest = min(boxes[0].height, boxes[0].width)
    denominator = next((d for d in (8, 4, 2) if shortest / d >= size), 1)
    decoded = tuple(-(-side // denominator) for side in first_size)
    crops = [_pixels(box, denominator, decoded) for box in boxes]

    scratch = np.empty((*decoded, 3), np.uint8)
    places: dict[int, int] = {}
    for place, index in enumerate(map(int, indices)):
        if index in places:
            by_crop[:, place] = by_crop[:, places[index]]
            continue
        places[index] = place
        jpeg = jpegs[index]
        if (found := frame_size(jpeg, index)) != first_size:
            raise FrameError(
                f"frame {index}: expected {first_size} pixels (height, width) as in frame {indices[0]}, got {found}"
            )
        try:
            image = decode_jpeg(jpeg, *decoded, out=scratch)
        except ValueError as error:
            raise FrameError(f"frame {index}: {error}") from error
        for crop, frames in zip(crops, by_crop, strict=True):
            _resize(image[crop], frames[place])


def _resize(image: np.ndarray, square: np.ndarray) -> None:
    """Resizes an image (H, W, 3) into a square one (size, size, 3)."""
    size = square.shape[0]
    strong = max(image.shape[:2]) > _STRONG_DOWNSCALE * size
    cv2.resize(image, (size, size), dst=square, interpolation=cv2.INTER_AREA if strong else cv2.INTER_LINEAR)


def _pixels(box: Box, denominator: int, decoded: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a crop in a frame that was decoded at a fraction of its size."""
    return (
        _whole_pixels(box.top / denominator, box.height / denominator, decoded[0]),
        _whole_pixels(box.left / denominator, box.width / denominator, decoded[1]),
    )


def _whole_pixels(start: float, length: float, side: int) -> slice:
    """The whole pixels, at least one, that are closest to an interval of a side."""
    low = min(round(start), side - 1)
    return slice(low, min(max(round(start + length), low + 1), side))
