"""Single images as they are stored: JPEG (simplejpeg) for frames and flow, PNG for what has to be exact."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

from musclemap_jax.data.raw.jpeg_planes import JpegPlanes

JPEG_QUALITY = 90


def encode_jpeg(image: np.ndarray | JpegPlanes, quality: int = JPEG_QUALITY) -> bytes:
    """JPEG bytes of planes or of a uint8 (H, W, 3) RGB image; colour at half resolution, as the h264 source has it."""
    if isinstance(image, JpegPlanes):
        return simplejpeg.encode_jpeg_yuv_planes(*image, quality)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, colorspace="RGB", colorsubsampling="420")


def decode_jpeg(data: bytes, min_height: int = 0, min_width: int = 0, out: np.ndarray | None = None) -> np.ndarray:
    """uint8 (H, W, 3) RGB of JPEG bytes.

    The image is not scaled down below `min_height` and `min_width`, of which 0 stands for full size. Scaling, by k/8,
    is cheap since it works on the DCT. If `out` is given (uint8, contiguous, at least as large as the image), it is
    written to, and the result is a view of it: a fresh array for every frame costs page faults that take half as long
    again as the decoding.

    Raises ValueError for anything but a whole JPEG, and for one larger than `out`.
    """
    return simplejpeg.decode_jpeg(data, colorspace="RGB", min_height=min_height, min_width=min_width, buffer=out)


def encode_grey_jpeg(image: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of a uint8 (H, W) image."""
    image = np.ascontiguousarray(image)[..., None]
    return simplejpeg.encode_jpeg(image, quality, colorspace="GRAY", colorsubsampling="Gray")


def decode_grey_jpeg(data: bytes) -> np.ndarray:
    """uint8 (H, W) of JPEG bytes."""
    return simplejpeg.decode_jpeg(data, colorspace="GRAY")[..., 0]


def encode_png(image: np.ndarray) -> bytes:
    """PNG bytes of a uint8 (H, W, 3) RGB image; lossless."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def decode_png(data: bytes) -> np.ndarray:
    """uint8 (H, W, 3) RGB of PNG bytes."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
