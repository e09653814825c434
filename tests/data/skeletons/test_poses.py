"""Poses of a fixed number, place and size: values by hand, and what they must not depend on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclemap_jax.data.sampling import pose_times
from musclemap_jax.data.skeletons.poses import normalise_poses, sample_poses


def test_poses_are_the_middles_of_equal_parts():
    skeleton = np.ones((8, 1, 1, 3), np.float32)
    skeleton[:, 0, 0, 0] = np.arange(8) * 10
    poses = sample_poses(skeleton, pose_times(8, 4), num_persons=1)
    np.testing.assert_allclose(poses[:, 0, 0, 0], [5, 25, 45, 65])  # times 0.5, 2.5, 4.5, 6.5
    assert (poses[..., 2] == 1).all()


def test_short_clips_are_interpolated():
    skeleton = np.ones((2, 1, 1, 3), np.float32)
    skeleton[:, 0, 0] = [[0, 4, 0.2], [8, 8, 0.6]]
    poses = sample_poses(skeleton, np.array([0, 0.25, 0.5, 0.75, 1]), num_persons=1)
    np.testing.assert_allclose(
        poses[:, 0, 0], [[0, 4, 0.2], [2, 5, 0.3], [4, 6, 0.4], [6, 7, 0.5], [8, 8, 0.6]], rtol=1e-6
    )


def test_a_joint_seen_once_is_taken_from_the_nearer_frame_only():
    skeleton = np.zeros((2, 1, 1, 3), np.float32)
    skeleton[1, 0, 0] = [8, 6, 0.5]
    poses = sample_poses(skeleton, np.array([0.4, 0.6]), num_persons=1)
    np.testing.assert_array_equal(poses[:, 0, 0], [[0, 0, 0], [8, 6, 0.5]])


@pytest.mark.parametrize("found", [0, 1, 3])
def test_persons_are_cut_or_padded(found):
    skeleton = np.ones((5, found, 19, 3), np.float32)
    skeleton[..., 0] = np.arange(found)[None, :, None]
    poses = sample_poses(skeleton, pose_times(5, 7), num_persons=2)
    assert poses.shape == (7, 2, 19, 3)
    assert (poses[:, :found, :, 2] == 1).all()
    assert (poses[:, found:] == 0).all()


def test_normalised_places_by_hand():
    # Median of x 0, 2, 4 is 2; distances 2, 0, 2; their mean is 4 / 3.
    poses = np.ones((1, 1, 3, 3), np.float32)
    poses[0, 0, :, :2] = [[0, 5], [2, 5], [4, 5]]
    normalised = normalise_poses(poses)
    np.testing.assert_allclose(normalised[0, 0], [[-1.5, 0, 1], [0, 0, 1], [1.5, 0, 1]], rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10), shift=st.floats(-500, 500))
def test_normalised_places_do_not_depend_on_place_and_size(random_skeleton, seed, scale, shift):
    poses = random_skeleton(seed)
    moved = poses.copy()
    moved[..., :2] = poses[..., :2] * scale + shift
    np.testing.assert_allclose(normalise_poses(moved), normalise_poses(poses), atol=2e-3)


def test_normalisation_keeps_motion_and_shrugs_off_an_outlier():
    rng = np.random.default_rng(0)
    poses = np.ones((20, 1, 17, 3), np.float32)
    poses[..., :2] = rng.uniform(0, 100, (1, 1, 17, 2))
    poses[..., 0] += np.arange(20)[:, None, None]  # walks to the right
    clean = normalise_poses(poses)
    steps = np.diff(clean[:, 0, 0, 0])
    assert steps.min() > 0
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    poses[7, 0, 3, :2] = 5000
    outlier = normalise_poses(poses)
    assert np.abs(outlier - clean)[:7].max() < 0.05


def test_absent_joints_poses_and_persons_stay_zero(random_skeleton):
    poses = random_skeleton(5)
    poses[3, 0] = 0
    poses[:, 1] = 0
    normalised = normalise_poses(poses)
    assert (normalised[3, 0] == 0).all()
    assert (normalised[:, 1] == 0).all()
    assert (normalised[poses[..., 2] == 0] == 0).all()
    assert np.isfinite(normalised).all()
