"""Single images: JPEG keeps the picture, at a reduced scale too; PNG keeps every pixel."""

import numpy as np
import pytest

from musclemap_jax.data.images import (
    decode_grey_jpeg,
    decode_jpeg,
    decode_png,
    encode_grey_jpeg,
    encode_jpeg,
    encode_png,
)


@pytest.fixture(scope="module")
def image():
    """uint8 (48, 64, 3): smooth waves, with a bright corner at the top left."""
    rows, columns = np.mgrid[:48, :64]
    image = 110 + 90 * np.sin(np.stack([columns / 9, rows / 7, (rows + columns) / 11], axis=-1))
    image[:16, :16] = 250
    return image.astype(np.uint8)


def mean_difference(first, second):
    return np.abs(first.astype(np.int32) - second.astype(np.int32)).mean()


def test_jpeg_keeps_the_image(image):
    data = encode_jpeg(image, quality=95)
    assert data[:2] == b"\xff\xd8"
    decoded = decode_jpeg(data)
    assert decoded.shape == image.shape
    assert mean_difference(decoded, image) < 3
    assert len(encode_jpeg(image, quality=50)) < len(data)


def test_jpeg_can_be_decoded_at_a_reduced_scale(image):
    decoded = decode_jpeg(encode_jpeg(image), min_height=24, min_width=32)
    assert decoded.shape == (24, 32, 3)
    assert mean_difference(decoded, image.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))) < 6


def test_grey_jpeg_keeps_the_image(image):
    decoded = decode_grey_jpeg(encode_grey_jpeg(image[..., 0], 95))
    assert decoded.shape == (48, 64)
    assert mean_difference(decoded, image[..., 0]) < 3


def test_png_keeps_every_pixel(image):
    np.testing.assert_array_equal(decode_png(encode_png(image)), image)
