"""Frames and times of a clip: values by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclemap_jax.data.sampling import eval_indices, pose_times, source_stride, train_indices


@pytest.mark.parametrize(
    ("stride", "source_fps", "target_fps", "expected"),
    [(4, 60, 0, 4), (4, 60, 30, 8), (4, 15, 30, 2), (3, 25, 30, 2.5), (4, 0, 30, 4), (4, float("nan"), 30, 4)],
)
def test_source_stride(stride, source_fps, target_fps, expected):
    assert source_stride(stride, source_fps, target_fps) == expected


@pytest.mark.parametrize(
    ("num_source", "num_frames", "stride", "num_views", "expected"),
    [
        (64, 16, 4, 1, [[2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58, 62]]),
        (100, 4, 4, 1, [[44, 48, 52, 56]]),  # the window 42 to 57
        (100, 4, 4, 3, [[2, 6, 10, 14], [44, 48, 52, 56], [86, 90, 94, 98]]),
        (10, 4, 1, 2, [[0, 1, 2, 3], [6, 7, 8, 9]]),
        (30, 4, 2.5, 1, [[11, 13, 16, 18]]),  # 10 + 1.25, 3.75, 6.25, 8.75
        (8, 4, 4, 2, [[1, 3, 5, 7], [1, 3, 5, 7]]),  # shorter than the window: spread over the clip
        (3, 6, 1, 1, [[0, 0, 1, 1, 2, 2]]),
        (1, 3, 4, 1, [[0, 0, 0]]),
    ],
)
def test_eval_indices_by_hand(num_source, num_frames, stride, num_views, expected):
    np.testing.assert_array_equal(eval_indices(num_source, num_frames, stride, num_views), expected)


def test_train_windows_start_anywhere_that_fits():
    rng = np.random.default_rng(0)
    draws = np.stack([train_indices(19, 4, 4, rng) for _ in range(200)])
    np.testing.assert_array_equal(np.diff(draws, axis=1), 4)
    np.testing.assert_array_equal(np.unique(draws[:, 0]), [2, 3, 4, 5])  # starts 0 to 3, and half a stride


@given(
    num_source=st.integers(1, 200), num_frames=st.integers(1, 40), stride=st.floats(0.2, 12), seed=st.integers(0, 99)
)
def test_indices_lie_in_the_clip_and_never_decrease(num_source, num_frames, stride, seed):
    train = train_indices(num_source, num_frames, stride, np.random.default_rng(seed))
    for indices in [train, *eval_indices(num_source, num_frames, stride, 3)]:
        assert indices.shape == (num_frames,)
        assert indices[0] >= 0
        assert indices[-1] < num_source
        assert (np.diff(indices) >= 0).all()


def test_pose_times_by_hand():
    np.testing.assert_allclose(pose_times(8, 4), [0.5, 2.5, 4.5, 6.5])
    np.testing.assert_allclose(pose_times(2, 4), [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(pose_times(1, 3), [0, 0, 0])


def test_random_interval_is_as_long_as_asked_for():
    rng = np.random.default_rng(0)
    times = np.stack([pose_times(100, 64, 0.8, rng) for _ in range(50)])
    spans = (times[:, -1] - times[:, 0]) * 64 / 63
    assert spans.min() >= 79
    assert spans.max() <= 100
    assert np.ptp(spans) > 10
    assert times.min() >= 0
    assert times.max() <= 99
