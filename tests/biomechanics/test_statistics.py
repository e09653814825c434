"""Statistics of poses against values by hand, and what they say of absent joints and of mirror images."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from musclemap_jax.biomechanics import statistics
from musclemap_jax.biomechanics.channels import OF_JOINT
from musclemap_jax.skeleton_layouts import LAYOUTS
from tests.biomechanics.test_channels import NAMES, pose

NUM_JOINTS = len(LAYOUTS["coco17"].joints)
NUM_CHANNELS = len(OF_JOINT)
SIDE = [name for name in NAMES if not name.startswith("right")]


def clip(*poses, absent=()):
    """(1, T, V, 3) poses in which some joints are absent."""
    joints = np.stack([np.column_stack([each, np.ones(NUM_JOINTS, np.float32)]) for each in poses])
    joints[:, [NAMES.index(name) for name in absent]] = 0
    return joints[None]


def joint_statistics(poses):
    """NaN where they are undefined."""
    return np.where(*statistics.joint_statistics(poses)[::-1], np.nan)


def biomechanical_statistics(poses, poses_per_s):
    """NaN where they are undefined."""
    return np.where(*statistics.biomechanical_statistics(poses, poses_per_s)[::-1], np.nan)


def parts(statistics):
    """Of one clip: means, deviations; and how both differ from the mirror image's."""
    return np.split(statistics[0], 4)


def test_joint_statistics_are_means_and_deviations_of_places_and_distances():
    poses = clip(pose(), pose(left_wrist=(0.4, -1.9)))
    statistics = joint_statistics(10 * poses + 3 * np.array([1, 1, 0], np.float32))
    # Of both sides 17 * 2 places and 136 distances; 9 joints and 72 pairs are the first of two, or in the middle.
    assert statistics.shape == (1, 4 * (9 * 2 + 72))
    means, deviations, mean_differences, deviation_differences = parts(statistics)
    wrist, ankle = 2 * SIDE.index("left_wrist"), 2 * SIDE.index("left_ankle")
    chosen = [wrist, wrist + 1, ankle, ankle + 1]
    # Relative to the hips, at (0, -2), in trunk lengths; the left wrist moves from x = 0 to 0.4.
    np.testing.assert_allclose(means[chosen], [0.1, 0.1, 0, 2], atol=1e-5)
    np.testing.assert_allclose(deviations[chosen], [0.1, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(mean_differences[chosen], [0.2, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(deviation_differences[chosen], [0.2, 0, 0, 0], atol=1e-5)
    # Of wrist and ankle of one side, the distance is 1.9, on the left also hypot(0.4, 1.9).
    lengths = np.hypot([0, 0.4], 1.9)
    assert np.isclose(means[18:], (lengths.mean() + 1.9) / 2, atol=1e-6).any()
    assert np.isclose(deviation_differences[18:], lengths.std(), atol=1e-6).any()


def test_a_mirror_changes_no_statistic():
    random = np.random.default_rng(0)
    poses = clip(*(pose() + 0.2 * random.standard_normal((NUM_JOINTS, 2)).astype(np.float32) for _ in range(5)))
    mirrored = poses[:, :, LAYOUTS["coco17"].flip] * np.array([-1, 1, 1], np.float32)
    rate = np.full(1, 5, np.float32)
    np.testing.assert_allclose(joint_statistics(mirrored), joint_statistics(poses), atol=1e-5)
    np.testing.assert_allclose(
        biomechanical_statistics(mirrored, rate), biomechanical_statistics(poses, rate), atol=5e-3
    )


def test_an_absent_joint_is_replaced_by_that_of_the_other_side_and_nobody_has_no_statistics():
    both = ["left_wrist", "right_wrist"]
    whole, one, none = (parts(joint_statistics(clip(pose(), absent=absent))) for absent in ([], both[:1], both))
    assert np.isfinite(whole).all()
    for with_one, with_both in zip(one[:2], whole[:2], strict=True):
        assert np.isnan(with_one).sum() == 1  # the distance between the wrists
        np.testing.assert_array_equal(with_one[~np.isnan(with_one)], with_both[~np.isnan(with_one)])
    # Places and distances of both wrists.
    assert [np.isnan(part).sum() for part in none] == [2 + 16] * 4
    nobody = np.zeros((1, 3, NUM_JOINTS, 3), np.float32)
    assert np.isnan(joint_statistics(nobody)).all()
    assert np.isnan(biomechanical_statistics(nobody, np.ones(1, np.float32))).all()


def test_biomechanical_statistics_tell_what_moves_how_fast_and_against_what():
    bent, straight = pose(wrist=(0.5, -2.4)), pose()
    still, moving, twice = (
        parts(biomechanical_statistics(clip(*poses), np.full(1, rate, np.float32)))
        for poses, rate in (((bent, bent), 1), ((bent, straight), 1), ((bent, straight), 2))
    )
    assert len(still[0]) == 5 * (NUM_CHANNELS + 1 + 8) + len(SIDE) + 4 == 108
    np.testing.assert_allclose(still[1], 0, atol=1e-3)
    # Of the five joint angles of a side, the elbow's is the first; only it moves.
    speeds = slice(5 * NUM_CHANNELS, 5 * NUM_CHANNELS + 5)
    np.testing.assert_allclose(moving[0][speeds], [np.sqrt(np.pi / 2), 0, 0, 0, 0], atol=1e-3)
    np.testing.assert_allclose(twice[0][speeds], np.sqrt(2) * moving[0][speeds], rtol=1e-4, atol=1e-4)
    # The hand's weight opens the elbow, which gives way: in the first of two poses, 0.5 long.
    powers = moving[0][5 * (NUM_CHANNELS + 1) : 5 * (NUM_CHANNELS + 9)].reshape(2, 2, 2, 5)
    end, opened_by_load, opens = 1, 1, 0
    np.testing.assert_allclose(powers[end, opened_by_load, opens, 0], np.sqrt(0.5 * np.pi / 2 / 2), rtol=0.02)
    powers[end, opened_by_load, opens, 0] = 0
    np.testing.assert_allclose(powers[end], 0, atol=1e-3)


def test_jax_gives_the_same_and_gradients_are_finite():
    random = np.random.default_rng(0)
    poses = random.standard_normal((2, 6, NUM_JOINTS, 3)).astype(np.float32)
    poses[..., 2] = random.random(poses.shape[:-1]) > 0.2
    poses[1] = poses[1, :1]  # nothing moves: deviations of 0
    rate = np.float32(6)
    for function in (
        statistics.joint_statistics,
        functools.partial(statistics.biomechanical_statistics, poses_per_s=rate),
    ):
        by_numpy, by_jax = function(poses), function(jnp.asarray(poses))
        np.testing.assert_array_equal(by_jax.valid, by_numpy.valid)
        np.testing.assert_allclose(by_jax.values, by_numpy.values, atol=2e-3)
        gradient = jax.grad(lambda poses, function=function: function(poses).values.sum())(jnp.asarray(poses))
        assert np.isfinite(gradient).all()
        assert np.abs(gradient[0]).max() > 0
