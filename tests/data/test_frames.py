"""Decoding, cropping and resizing against a direct reference."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from musclemap_jax.data.augmentation import Box, fixed_crops
from musclemap_jax.data.frames import FrameError, decode_frames, frame_size
from musclemap_jax.data.images import decode_jpeg, encode_jpeg
from musclemap_jax.data.raw.video import read_video

REAL = Path(__file__).parent / "real" / "pose2sim_cam01.mp4"


def _image(height, width, seed=0):
    """Smooth coloured waves, which JPEG keeps to a few values."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 225, (5, 6, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _decode(jpegs, indices, box, size):
    video = np.full((len(indices), size, size, 3), 7, np.uint8)
    decode_frames(jpegs, np.array(indices), (box,), video)
    return video


def test_frame_size_is_of_the_stored_frame():
    assert frame_size(encode_jpeg(_image(40, 60)), 0) == (40, 60)


def test_full_size_crop_equals_the_decoded_pixels():
    jpeg = encode_jpeg(_image(48, 64))
    video = _decode([jpeg], [0], Box(8, 16, 32, 32), 32)
    np.testing.assert_array_equal(video[0], decode_jpeg(jpeg)[8:40, 16:48])


@pytest.mark.parametrize("box", [Box(3.4, 5.6, 40.2, 50.1), Box(0, 0, 96, 128), Box(10.5, 70.2, 60, 57.8)])
def test_crop_and_resize_equal_a_direct_reference(box):
    jpeg = encode_jpeg(_image(96, 128))
    video = _decode([jpeg], [0], box, 56)
    full = decode_jpeg(jpeg).astype(np.float32)
    # Sub-pixel reference: sample the crop's own grid in the full-size frame.
    rows = box.top + (np.arange(56) + 0.5) * box.height / 56 - 0.5
    columns = box.left + (np.arange(56) + 0.5) * box.width / 56 - 0.5
    grid = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
    reference = cv2.remap(full, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(video[0] - reference).mean() < 2.5


@pytest.mark.parametrize(
    ("stored", "size", "tolerance"),
    # Off multiples of the scale the crop's edges are rounded to decoded pixels: up to half a pixel of a steep wave.
    [((128, 128), 64, 1), ((64, 64), 8, 2), ((341, 257), 64, 3), ((130, 170), 16, 5)],
)
def test_reduced_decoding_equals_full_decoding(stored, size, tolerance):
    jpeg = encode_jpeg(_image(*stored))
    box = fixed_crops(*stored)[0]
    video = _decode([jpeg], [0], box, size)
    top, left, side = round(box.top), round(box.left), round(box.height)
    square = decode_jpeg(jpeg)[top : top + side, left : left + side]
    reference = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(video[0].astype(float) - reference).mean() < tolerance


@pytest.mark.parametrize(("denominator", "times_nearer"), [(2, 0), (4, 10), (8, 10)])  # at 1/2 both are exact
def test_reduced_decoding_is_nearer_to_an_area_average_than_a_bilinear_resize(denominator, times_nearer):
    # A real frame, where the crop's edges fall on decoded pixels: what is left is the decoder's scaling itself.
    jpeg = encode_jpeg(next(read_video(REAL, short_side=512).frames))
    full = decode_jpeg(jpeg)[64:512, 32:480]
    size = 448 // denominator
    area = cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA).astype(float)
    bilinear = cv2.resize(full, (size, size), interpolation=cv2.INTER_LINEAR)
    (reduced,) = _decode([jpeg], [0], Box(64, 32, 448, 448), size)
    error = np.square(reduced - area).mean()
    assert error < 255**2 / 10**4.5  # 45 dB; 40 dB is taken for indistinguishable
    assert times_nearer * error <= np.square(bilinear - area).mean()


def test_frames_come_in_the_order_asked_for_and_repeat():
    jpegs = [encode_jpeg(np.full((32, 32, 3), 20 * index, np.uint8)) for index in range(6)]
    video = _decode(jpegs, [5, 0, 0, 3, 5], fixed_crops(32, 32)[0], 16)
    np.testing.assert_array_equal(video[:, 8, 8, 0], [100, 0, 0, 60, 100])


def test_small_frames_are_enlarged():
    jpeg = encode_jpeg(np.full((20, 24, 3), 90, np.uint8))
    video = _decode([jpeg], [0], fixed_crops(20, 24)[0], 48)
    assert video.shape == (1, 48, 48, 3)
    assert (video == 90).all()


def test_only_the_sampled_frames_are_decoded():
    good = encode_jpeg(_image(32, 32))
    _decode([b"never read", good, b"never read"], [1, 1], fixed_crops(32, 32)[0], 32)


@pytest.mark.parametrize("broken", [b"", b"no jpeg", encode_jpeg(_image(64, 64))[:-200]])
def test_an_error_names_the_broken_frame(broken):
    jpegs = [encode_jpeg(_image(64, 64)), broken]
    with pytest.raises(FrameError, match="frame 1: "):
        _decode(jpegs, [0, 1], fixed_crops(64, 64)[0], 32)


def test_frames_of_several_sizes_are_refused():
    jpegs = [encode_jpeg(_image(64, 64)), encode_jpeg(_image(64, 48))]
    with pytest.raises(FrameError, match=r"frame 1: expected \(64, 64\) pixels .* in frame 0, got \(64, 48\)"):
        _decode(jpegs, [0, 1], fixed_crops(64, 64)[0], 32)


def test_bytes_that_are_no_image():
    with pytest.raises(FrameError, match="frame 0: not a JPEG"):
        frame_size(b"abc", 0)
