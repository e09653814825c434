"""Channels against values worked out by hand, in both namespaces, with absent joints and gradients."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.biomechanics.channels import (
    CHANNELS,
    OF_JOINT,
    biomechanical_channels,
    centre_of_mass,
)
from musclemap_jax.skeleton_layouts import LAYOUTS

NAMES = LAYOUTS["coco17"].joints
STANDING = {
    "nose": (0.1, -3.4), "eye": (0, -3.4), "ear": (0, -3.4), "shoulder": (0, -3), "elbow": (0, -2.4),
    "wrist": (0, -1.9), "hip": (0, -2), "knee": (0, -1), "ankle": (0, 0),
}  # fmt: skip
"""Both sides alike, seen from the side; the trunk is 1 long."""


def pose(**places):
    """(V, 2) joints of somebody who stands, with other places for some joints of both sides or of one."""
    places = {**STANDING, **places}
    return np.array([places.get(name, places[name.split("_")[-1]]) for name in NAMES], np.float32)


def channel(name, joint, *poses, poses_per_s=1.0, absent=()):
    """(T,) a channel of a joint, with NaN where it is undefined."""
    joints = np.stack(poses)
    present = np.ones(joints.shape[:2], bool)
    present[:, [NAMES.index(gone) for gone in absent]] = False
    values, valid = biomechanical_channels(joints, present, NAMES, poses_per_s)
    place = (..., NAMES.index(joint), CHANNELS.index(name))
    return np.where(valid[place], values[place], np.nan)


@pytest.mark.parametrize(
    ("moved", "mass"), [("left_ankle", 0.061 * 0.606), ("right_wrist", 0.022 * 0.682), ("ear", 0.081)]
)
def test_the_centre_of_mass_moves_with_the_mass_that_moves(moved, mass):
    joints = np.stack([pose(), pose(**{moved: STANDING[moved.split("_")[-1]] + np.array([1, 0])})])
    centre, valid = centre_of_mass(joints, np.ones(joints.shape[:2], bool), NAMES)
    assert valid.all()
    np.testing.assert_allclose(centre[1] - centre[0], [mass, 0], atol=1e-6)


def test_the_centre_of_mass_of_somebody_who_stands_is_near_the_hips():
    joints = pose()[None]
    centre, _ = centre_of_mass(joints, np.ones(joints.shape[:2], bool), NAMES)
    legs = 2 * (0.1 * (2 - 0.433) + 0.061 * (1 - 0.606))
    arms = 2 * (0.028 * (3 - 0.6 * 0.436) + 0.022 * (2.4 - 0.5 * 0.682))
    np.testing.assert_allclose(centre, [[0, -(legs + arms + 0.497 * 2.5 + 0.081 * 3.4)]], atol=1e-5)


def test_without_half_of_the_mass_there_is_no_centre():
    joints = pose()[None]
    present = np.array([["hip" not in name for name in NAMES]])  # trunk and thighs are gone
    assert not centre_of_mass(joints, present, NAMES)[1].any()
    present = np.array([["ankle" not in name for name in NAMES]])
    assert centre_of_mass(joints, present, NAMES)[1].all()


def test_angles_and_their_speed():
    bent, half, straight = (
        pose(wrist=(0.5 * math.sin(turn), -2.4 + 0.5 * math.cos(turn))) for turn in (math.pi / 2, math.pi / 4, 0)
    )
    angle = channel("angle", "left_elbow", bent, half, straight)
    np.testing.assert_allclose(angle, [math.pi / 2, 3 * math.pi / 4, math.pi], atol=1e-3)
    speed = channel("angle_speed", "left_elbow", bent, half, straight, poses_per_s=10)
    np.testing.assert_allclose(speed, 10 * math.pi / 4, atol=1e-2)


def test_the_angle_of_an_ankle_is_the_inclination_of_its_shank():
    upright, leaning = pose(), pose(knee=(1, -1))
    np.testing.assert_allclose(channel("angle", "left_ankle", upright, leaning), [0, math.pi / 4], atol=1e-5)


def test_levers_and_moments_of_a_squat():
    # Hips behind the ankles, knees before them: the weight of the body closes the knees.
    squat = pose(knee=(0.6, -0.8), hip=(-0.4, -0.8), shoulder=(0, -1.7), elbow=(0, -1.2), wrist=(0, -0.8))
    centre, _ = centre_of_mass(squat[None], np.ones((1, len(NAMES)), bool), NAMES)
    trunk = math.hypot(0.4, 0.9)
    lever = channel("body_lever", "left_knee", squat)
    np.testing.assert_allclose(lever, (0.6 - centre[0, 0]) / trunk, rtol=1e-5)
    np.testing.assert_allclose(channel("end_lever", "left_knee", squat), 0.6 / trunk, rtol=1e-5)
    np.testing.assert_allclose(channel("body_moment", "left_knee", squat), lever, rtol=0.02)
    assert channel("end_moment", "left_knee", squat)[0] < 0  # a foot that hung there would swing down


def test_a_curl_is_held_against_the_weight_in_the_hand():
    curl = pose(wrist=(0.5, -2.4))
    np.testing.assert_allclose(channel("end_moment", "left_elbow", curl), [-0.5], rtol=0.01)  # it opens the elbow


def test_powers_are_lever_times_speed_by_direction():
    bent, straight = pose(wrist=(0.5, -2.4)), pose(wrist=(0, -1.9))
    opening, closing = (
        channel(f"end_{way}", "left_elbow", bent, straight, bent, bent) for way in ("opening", "closing")
    )
    np.testing.assert_allclose(opening, [0.5 * math.pi / 2, 0, 0, 0], atol=1e-3)
    np.testing.assert_allclose(closing, [0, 0, 0.5 * math.pi / 4, 0], atol=1e-3)


def test_heights_and_the_whole_body():
    bow = pose(shoulder=(1, -2), ear=(1.4, -2))
    np.testing.assert_allclose(channel("height", "left_hip", bow), 2)
    np.testing.assert_allclose(channel("trunk_inclination", "nose", pose(), bow), [0, math.pi / 2], atol=1e-6)
    up = pose() - np.array([0.3, 0.2], np.float32)
    np.testing.assert_allclose(channel("mass_speed_up", "nose", pose(), up, poses_per_s=5), 1.0, atol=1e-5)
    np.testing.assert_allclose(channel("mass_speed_across", "nose", pose(), up, poses_per_s=5), 1.5, atol=1e-5)
    height = channel("mass_height", "nose", pose())
    assert 1.5 < height[0] < 2.5


def test_what_depends_on_an_absent_joint_is_undefined_and_nothing_else():
    poses = pose(wrist=(0.5, -2.4)), pose()
    joints = np.stack(poses)
    whole = biomechanical_channels(joints, np.ones(joints.shape[:2], bool), NAMES)
    present = np.ones(joints.shape[:2], bool)
    gone = NAMES.index("left_wrist")
    present[:, gone] = False
    joints[:, gone] = np.nan
    values, valid = biomechanical_channels(joints, present, NAMES)
    lost = whole.valid & ~valid
    expected = np.zeros(lost.shape, bool)
    expected[:, gone] = whole.valid[:, gone]
    expected[:, NAMES.index("left_elbow"), : len(OF_JOINT)] = True
    for name in OF_JOINT:
        if name.startswith("end"):
            expected[:, NAMES.index("left_shoulder"), CHANNELS.index(name)] = True
    np.testing.assert_array_equal(lost, expected)
    assert np.isfinite(values).all()
    assert not values[~valid].any()
    nobody = biomechanical_channels(joints, np.zeros(present.shape, bool), NAMES)
    assert not nobody.valid.any()
    assert not nobody.values.any()


def random_poses(shape=(2, 3, 6)):
    random = np.random.default_rng(0)
    joints = pose() + 0.3 * random.standard_normal((*shape, len(NAMES), 2)).astype(np.float32)
    return joints, random.random((*shape, len(NAMES))) < 0.9


def test_a_mirror_a_shift_and_a_scale_change_nothing():
    joints, present = random_poses()
    same = LAYOUTS["coco17"].flip
    before = biomechanical_channels(joints, present, NAMES)
    mirrored = biomechanical_channels(
        joints[..., same, :] * np.array([-30, 30], np.float32) + 7, present[..., same], NAMES
    )
    np.testing.assert_array_equal(mirrored.valid[..., same, :], before.valid)
    np.testing.assert_allclose(mirrored.values[..., same, :], before.values, atol=2e-3)


def test_jax_and_numpy_agree_and_a_rate_of_each_clip_counts():
    joints, present = random_poses()
    rate = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)
    expected = biomechanical_channels(joints, present, NAMES, rate)
    found = jax.jit(lambda *arrays: biomechanical_channels(*arrays[:2], NAMES, arrays[2]))(joints, present, rate)
    np.testing.assert_array_equal(found.valid, expected.valid)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4)
    slow = biomechanical_channels(joints, present, NAMES)
    np.testing.assert_allclose(
        expected.values[1, 2, ..., CHANNELS.index("angle_speed")],
        6 * slow.values[1, 2, ..., CHANNELS.index("angle_speed")],
        rtol=1e-5,
    )


def test_gradients_are_finite_and_absent_joints_have_none():
    joints, present = random_poses()
    joints[0, 0, 0] = 0  # all joints in one place
    present[1, 0] = False  # nobody

    def loss(joints):
        return jnp.sum(biomechanical_channels(joints, present, NAMES).values ** 2)

    gradient = np.asarray(jax.grad(loss)(jnp.asarray(joints)))
    assert np.isfinite(gradient).all()
    assert not gradient[~present].any()
    assert np.abs(gradient[1, 1]).max() > 0


def test_the_gradient_of_a_lever_is_that_of_its_place():
    joints, present = pose(knee=(0.6, -1))[None], np.ones((1, len(NAMES)), bool)
    knee, lever = NAMES.index("left_knee"), CHANNELS.index("end_lever")
    gradient = jax.grad(lambda x: biomechanical_channels(x, present, NAMES).values[0, knee, lever])(jnp.asarray(joints))
    np.testing.assert_allclose(gradient[0, knee], [1, 0], atol=0.2)  # but for the knee's part in the unit of length
    np.testing.assert_allclose(gradient[0, NAMES.index("left_ankle")], [-1, 0], atol=0.2)
