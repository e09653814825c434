"""Statistics of poses against values by hand, and what they say of absent joints."""

from __future__ import annotations

import numpy as np

from musclemap_jax.eval.skeleton_statistics import biomechanical_statistics, joint_statistics
from musclemap_jax.skeleton_layouts import LAYOUTS
from tests.biomechanics.test_channels import NAMES, pose

NUM_JOINTS = len(LAYOUTS["coco17"].joints)


def clip(*poses, absent=()):
    """(1, T, V, 3) poses in which some joints are absent."""
    joints = np.stack([np.column_stack([each, np.ones(NUM_JOINTS, np.float32)]) for each in poses])
    joints[:, [NAMES.index(name) for name in absent]] = 0
    return joints[None]


def test_joint_statistics_are_340_means_and_deviations():
    poses = clip(pose(), pose(left_wrist=(0.4, -1.9)))
    statistics = joint_statistics(10 * poses + 3 * np.array([1, 1, 0], np.float32))[0]
    assert statistics.shape == (340,)
    wrist, ankle = NAMES.index("left_wrist"), NAMES.index("left_ankle")
    means, deviations = statistics[:170], statistics[170:]
    # Relative to the hips, which are at (0, -2), in trunk lengths; the wrist moves from x = 0 to 0.4.
    np.testing.assert_allclose(means[[2 * wrist, 2 * wrist + 1, 2 * ankle, 2 * ankle + 1]], [0.2, 0.1, 0, 2], atol=1e-5)
    np.testing.assert_allclose(deviations[[2 * wrist, 2 * wrist + 1, 2 * ankle + 1]], [0.2, 0, 0], atol=1e-5)
    # Distances come behind, in the order of pairs: (0, 1), (0, 2) ...
    pairs = [(a, b) for a in range(NUM_JOINTS) for b in range(a + 1, NUM_JOINTS)]
    place = 2 * NUM_JOINTS + pairs.index((wrist, ankle))
    lengths = np.hypot([0, 0.4], 1.9)
    np.testing.assert_allclose([means[place], deviations[place]], [lengths.mean(), lengths.std()], atol=1e-5)


def test_an_absent_joint_has_no_statistics_and_nobody_has_none():
    whole, without = joint_statistics(clip(pose())), joint_statistics(clip(pose(), absent=["left_wrist"]))
    assert np.isfinite(whole).all()
    assert np.isnan(without).sum() == 2 * (2 + 16)  # its place and its distances
    nobody = np.zeros((1, 3, NUM_JOINTS, 3), np.float32)
    assert np.isnan(joint_statistics(nobody)).all()
    assert np.isnan(biomechanical_statistics(nobody, np.ones(1, np.float32))).all()


def test_biomechanical_statistics_tell_what_moves_and_how_fast():
    bent, straight = pose(wrist=(0.5, -2.4)), pose()
    still, moving, twice = (
        biomechanical_statistics(clip(*poses), np.full(1, rate, np.float32))[0]
        for poses, rate in (((bent, bent), 1), ((bent, straight), 1), ((bent, straight), 2))
    )
    means, deviations = np.split(still, 2)
    assert means.shape == (10 * 11 + NUM_JOINTS + 4,)
    np.testing.assert_allclose(deviations, 0, atol=1e-6)
    assert np.flatnonzero(moving != twice).size > 0
    # |angle speed| of the ten joint angles, elbows first on each side; only elbows and shoulders move.
    speeds = np.split(moving, 2)[0][100:110]
    np.testing.assert_allclose(speeds[[0, 5]], np.pi / 2, atol=1e-3)
    np.testing.assert_allclose(np.split(twice, 2)[0][100:110], 2 * speeds, rtol=1e-5)
    np.testing.assert_allclose(np.delete(speeds, [0, 5]), 0, atol=1e-6)
