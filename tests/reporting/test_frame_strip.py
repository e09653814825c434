"""Strips of frames with skeletons, read from their pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.reporting.frame_strip import LEFT, plot_frame_strip
from musclemap_jax.reporting.plots import image_bytes

JOINTS = ("left_shoulder", "left_elbow", "right_shoulder", "right_elbow")


def strip(frames, skeleton=None, **options) -> np.ndarray:
    figure = plot_frame_strip(frames, skeleton, JOINTS, **options)
    return np.asarray(Image.open(io.BytesIO(image_bytes(figure))).convert("RGB")).astype(int)


def count_colour(pixels: np.ndarray, colour: str) -> int:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - rgb).max(axis=-1) < 25).sum())


def one_person(frame: int, ends: tuple) -> np.ndarray:
    """(3, 1, 4, 3) skeleton with the left upper arm in one frame only."""
    skeleton = np.zeros((3, 1, 4, 3))
    skeleton[frame, 0, :2, :2] = ends
    skeleton[frame, 0, :2, 2] = 1
    return skeleton


def test_strip_shows_evenly_spaced_frames_in_order():
    frames = np.zeros((9, 16, 16, 3), np.uint8)
    frames[:, :, :, 0] = (20 * np.arange(9))[:, None, None]
    pixels = strip(frames, max_frames=3)
    third = pixels.shape[1] / 3
    middles = [pixels[pixels.shape[0] // 2, int(third * (i + 0.5)), 0] for i in range(3)]
    np.testing.assert_allclose(middles, [0, 80, 160], atol=2)


def test_bones_are_drawn_where_the_joints_are_and_only_in_their_frame():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    pixels = strip(frames, one_person(1, ((8, 8), (24, 24))))
    thirds = np.array_split(pixels, 3, axis=1)
    assert count_colour(thirds[1], LEFT) > 300
    assert count_colour(thirds[0], LEFT) == count_colour(thirds[2], LEFT) == 0
    row, column = np.argwhere(np.abs(thirds[1] - [0x56, 0xB4, 0xE9]).max(axis=-1) < 25).mean(axis=0)
    assert row / pixels.shape[0] == pytest.approx(0.5, abs=0.05)
    assert column / thirds[1].shape[1] == pytest.approx(0.5, abs=0.05)


def test_bones_end_at_the_edge_of_their_frame():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    thirds = np.array_split(strip(frames, one_person(1, ((16, 16), (90, 16)))), 3, axis=1)
    assert count_colour(thirds[1], LEFT) > 100
    assert count_colour(thirds[2][:, 20:], LEFT) == 0
    assert count_colour(strip(frames, one_person(1, ((-9, 40), (40, 90)))), LEFT) == 0


def test_joints_with_score_zero_are_not_drawn():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    skeleton = one_person(1, ((8, 8), (24, 24)))
    skeleton[1, 0, 0, 2] = 0
    assert count_colour(strip(frames, skeleton), LEFT) == 0
    nobody = np.zeros((3, 0, 4, 3))
    assert count_colour(strip(frames, nobody), LEFT) == 0


def test_shapes_that_differ_are_rejected():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(T, P, 4, 3\).* got \(2, 1, 4, 3\)"):
        plot_frame_strip(frames, np.zeros((2, 1, 4, 3)), JOINTS)
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\), got \(3, 32, 32\)"):
        plot_frame_strip(frames[..., 0])
