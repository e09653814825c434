"""Statistics of poses against values by hand, and what they say of absent joints and of mirror images."""

from __future__ import annotations

import numpy as np

from musclemap_jax.biomechanics.channels import OF_JOINT
from musclemap_jax.eval.skeleton_statistics import biomechanical_statistics, joint_statistics
from musclemap_jax.skeleton_layouts import LAYOUTS
from tests.biomechanics.test_channels import NAMES, pose

NUM_JOINTS = len(LAYOUTS["coco17"].joints)
NUM_CHANNELS = len(OF_JOINT)


def clip(*poses, absent=()):
    """(1, T, V, 3) poses in which some joints are absent."""
    joints = np.stack([np.column_stack([each, np.ones(NUM_JOINTS, np.float32)]) for each in poses])
    joints[:, [NAMES.index(name) for name in absent]] = 0
    return joints[None]


def parts(statistics):
    """Of one clip: means, deviations; and how both differ from the mirror image's."""
    return np.split(statistics[0], 4)


def test_joint_statistics_are_means_and_deviations_of_places_and_distances():
    poses = clip(pose(), pose(left_wrist=(0.4, -1.9)))
    statistics = joint_statistics(10 * poses + 3 * np.array([1, 1, 0], np.float32))
    assert statistics.shape == (1, 2 * 340)
    means, deviations, mean_differences, deviation_differences = parts(statistics)
    wrist, ankle = NAMES.index("left_wrist"), NAMES.index("left_ankle")
    chosen = [2 * wrist, 2 * wrist + 1, 2 * ankle, 2 * ankle + 1]
    # Relative to the hips, at (0, -2), in trunk lengths; the left wrist moves from x = 0 to 0.4.
    np.testing.assert_allclose(means[chosen], [0.1, 0.1, 0, 2], atol=1e-5)
    np.testing.assert_allclose(deviations[chosen], [0.1, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(mean_differences[chosen], [0.2, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(deviation_differences[chosen], [0.2, 0, 0, 0], atol=1e-5)
    # Distances come behind, in the order of pairs: (0, 1), (0, 2) ...
    pairs = [(a, b) for a in range(NUM_JOINTS) for b in range(a + 1, NUM_JOINTS)]
    place = 2 * NUM_JOINTS + pairs.index((wrist, ankle))
    lengths = np.hypot([0, 0.4], 1.9)
    np.testing.assert_allclose(means[place], (lengths.mean() + 1.9) / 2, atol=1e-5)
    np.testing.assert_allclose(deviation_differences[place], lengths.std(), atol=1e-5)


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
    assert [np.isnan(part).sum() for part in none] == [4 + 16 + 15] * 4
    nobody = np.zeros((1, 3, NUM_JOINTS, 3), np.float32)
    assert np.isnan(joint_statistics(nobody)).all()
    assert np.isnan(biomechanical_statistics(nobody, np.ones(1, np.float32))).all()


def test_biomechanical_statistics_tell_what_moves_how_fast_and_against_what():
    bent, straight = pose(wrist=(0.5, -2.4)), pose()
    still, moving, twice = (
        parts(biomechanical_statistics(clip(*poses), np.full(1, rate, np.float32)))
        for poses, rate in (((bent, bent), 1), ((bent, straight), 1), ((bent, straight), 2))
    )
    assert len(still[0]) == 10 * (NUM_CHANNELS + 1 + 8) + NUM_JOINTS + 4 == 211
    np.testing.assert_allclose(still[1], 0, atol=1e-3)
    # Of the ten joint angles, elbows are the first of each side; only they move.
    speeds = slice(10 * NUM_CHANNELS, 10 * NUM_CHANNELS + 10)
    np.testing.assert_allclose(moving[0][speeds][[0, 5]], np.sqrt(np.pi / 2), atol=1e-3)
    np.testing.assert_allclose(np.delete(moving[0][speeds], [0, 5]), 0, atol=1e-3)
    np.testing.assert_allclose(twice[0][speeds], np.sqrt(2) * moving[0][speeds], rtol=1e-4)
    # The hand's weight opens the elbow, which gives way: in the first of two poses, 0.5 long.
    powers = moving[0][10 * (NUM_CHANNELS + 1) : 10 * (NUM_CHANNELS + 9)].reshape(2, 2, 2, 10)
    end, holds_closed, opens = 1, 1, 0
    np.testing.assert_allclose(powers[end, holds_closed, opens, [0, 5]], np.sqrt(0.5 * np.pi / 2 / 2), rtol=0.02)
    powers[end, holds_closed, opens, [0, 5]] = 0
    np.testing.assert_allclose(powers[end], 0, atol=1e-3)
