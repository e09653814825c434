"""Which clips a report shows, and the strips of their frames."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.reporting import examples, plots

JOINTS = ("left_shoulder", "left_elbow", "right_shoulder", "right_elbow")


def strip(frames, skeleton=None, **options) -> np.ndarray:
    figure = examples.strip_figure(frames, skeleton, JOINTS, **options)
    return np.asarray(Image.open(io.BytesIO(plots.figure_bytes(figure))).convert("RGB")).astype(int)


def count_colour(pixels: np.ndarray, colour: str) -> int:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - rgb).max(axis=-1) < 25).sum())


def one_person(frame: int, ends: tuple) -> np.ndarray:
    """(3, 1, 4, 3) skeleton with the left upper arm in one frame only."""
    skeleton = np.zeros((3, 1, 4, 3))
    skeleton[frame, 0, :2, :2] = ends
    skeleton[frame, 0, :2, 2] = 1
    return skeleton


def test_examples_go_from_the_best_to_the_worst_clip():
    # Four regions; the one true region of clip i is ranked i-th, so its average precision is 1 / (i + 1).
    labels = np.eye(4, dtype=int)
    scores = np.tile([4.0, 3.0, 2.0, 1.0], (4, 1))
    order = [2, 0, 3, 1]
    predictions = SplitPredictions(scores, labels[order], [f"clip{i}" for i in order])
    chosen = examples.choose_examples(predictions, 3)
    assert [predictions.clip_ids[i] for i, _ in chosen] == ["clip0", "clip2", "clip3"]
    assert chosen[0][1] == "rank 1 of 4 clips, average precision 1.00"
    assert chosen[-1][1] == "rank 4 of 4 clips, average precision 0.25"


def test_all_clips_are_chosen_where_there_are_few_and_those_without_truth_are_not():
    predictions = SplitPredictions(np.zeros((3, 2)), np.array([[1, 0], [0, 0], [0, 1]]), ["b", "none", "a"])
    assert [i for i, _ in examples.choose_examples(predictions, 9)] == [2, 0]
    assert examples.choose_examples(predictions, 0) == []


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
    assert count_colour(thirds[1], examples.LEFT) > 300
    assert count_colour(thirds[0], examples.LEFT) == count_colour(thirds[2], examples.LEFT) == 0
    row, column = np.argwhere(np.abs(thirds[1] - [0x56, 0xB4, 0xE9]).max(axis=-1) < 25).mean(axis=0)
    assert row / pixels.shape[0] == pytest.approx(0.5, abs=0.05)
    assert column / thirds[1].shape[1] == pytest.approx(0.5, abs=0.05)


def test_bones_end_at_the_edge_of_their_frame():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    thirds = np.array_split(strip(frames, one_person(1, ((16, 16), (90, 16)))), 3, axis=1)
    assert count_colour(thirds[1], examples.LEFT) > 100
    assert count_colour(thirds[2][:, 20:], examples.LEFT) == 0
    assert count_colour(strip(frames, one_person(1, ((-9, 40), (40, 90)))), examples.LEFT) == 0


def test_joints_with_score_zero_are_not_drawn():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    skeleton = one_person(1, ((8, 8), (24, 24)))
    skeleton[1, 0, 0, 2] = 0
    assert count_colour(strip(frames, skeleton), examples.LEFT) == 0
    nobody = np.zeros((3, 0, 4, 3))
    assert count_colour(strip(frames, nobody), examples.LEFT) == 0


def test_shapes_that_differ_are_refused():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=r"\(T, P, 4, 3\).* got \(2, 1, 4, 3\)"):
        examples.strip_figure(frames, np.zeros((2, 1, 4, 3)), JOINTS)
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\), got \(3, 32, 32\)"):
        examples.strip_figure(frames[..., 0])
