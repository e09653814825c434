"""Colour operations against Pillow's on single images, and what is the whole clip's."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from musclemap_jax.data.pixel_operations import (
    PIXEL_OPERATIONS,
    auto_contrast,
    brightness,
    contrast,
    equalize,
    invert,
    solarize,
)


def _frame(seed, low=0, high=256):
    """Smooth enough for a filter, with all of the given levels."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(24)[:, None, None] / 5) + np.cos(np.arange(20)[None, :, None] / 4 + rng.uniform(0, 6, 3))
    noisy = (waves + 2) / 4 + rng.normal(scale=0.1, size=waves.shape)
    return np.clip(low + (high - low) * noisy, low, high - 1).astype(np.uint8)


def _changed(name, frame, *value):
    video = frame[None].copy()
    PIXEL_OPERATIONS[name](video, *value)
    return video[0]


PILLOW = {
    "auto_contrast": lambda image: ImageOps.autocontrast(image),
    "equalize": lambda image: ImageOps.equalize(image),
    "invert": lambda image: ImageOps.invert(image),
    "posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "solarize": lambda image, threshold: ImageOps.solarize(image, int(threshold)),
    "solarize_add": lambda image, added: image.point([min(255, v + added) if v < 128 else v for v in range(256)] * 3),
    "color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
}

ARGUMENTS = [
    *[(name, ()) for name in ("auto_contrast", "equalize", "invert")],
    *[("posterize", (bits,)) for bits in (1.0, 2.0, 4.0)],
    *[("solarize", (threshold,)) for threshold in (0.0, 77.0, 256.0)],
    *[("solarize_add", (added,)) for added in (0.0, 77.0, 110.0)],
    *[
        (name, (factor,))
        for name in ("color", "contrast", "brightness", "sharpness")
        for factor in (0.1, 0.37, 1.0, 1.63, 1.9)
    ],
]
ROUNDED = ("color", "contrast", "brightness", "sharpness")


@pytest.mark.parametrize(("name", "value"), ARGUMENTS, ids=str)
def test_an_operation_equals_pillows(name, value):
    for frame in (_frame(0), _frame(1, 60, 200)):
        found = _changed(name, frame, *value).astype(int)
        expected = np.asarray(PILLOW[name](Image.fromarray(frame), *value)).astype(int)
        assert np.abs(found - expected).max() <= (1 if name in ROUNDED else 0)


def test_every_operation_is_compared():
    assert {name for name, _ in ARGUMENTS} == set(PIXEL_OPERATIONS) == set(PILLOW)


@pytest.mark.parametrize("name", ["auto_contrast", "equalize"])
def test_a_frame_of_one_level_stays(name):
    frame = np.full((8, 8, 3), 90, np.uint8)
    np.testing.assert_array_equal(_changed(name, frame), frame)


@pytest.mark.parametrize(("operation", "value"), [(auto_contrast, ()), (equalize, ()), (contrast, (1.6,))])
def test_statistics_are_the_whole_clips(operation, value):
    """A level means the same in every frame afterwards, so frames that are equal in a place stay equal there."""
    video = np.stack([_frame(0, 0, 120), _frame(1, 100, 256)])
    video[:, :4] = 110
    operation(video, *value)
    np.testing.assert_array_equal(video[0, :4], video[1, :4])
    assert video[0, 4:].mean() < video[1, 4:].mean() - 50


def test_levels_by_hand():
    video = np.array([10, 127, 128, 250], np.uint8).repeat(3).reshape(1, 2, 2, 3)
    for operation, value, expected in [
        (invert, (), [245, 128, 127, 5]),
        (solarize, (128.0,), [10, 127, 127, 5]),
        (brightness, (0.5,), [5, 63, 64, 125]),
    ]:
        changed = video.copy()
        operation(changed, *value)
        np.testing.assert_array_equal(changed[..., 0].ravel(), expected)
