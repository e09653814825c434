"""Skeleton layouts: joint orders, flips and conversions."""

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import LAYOUTS, convert, get_layout


def _numbered(layout: str) -> np.ndarray:
    """(V, 3): joint v at (v + 1, 100 + v) with score 0.5 + v / 100."""
    index = np.arange(LAYOUTS[layout].num_joints, dtype=np.float32)
    return np.stack([index + 1, index + 100, 0.5 + index / 100], axis=-1)


@pytest.mark.parametrize(
    ("name", "num_joints"),
    [("coco17", 17), ("coco19", 19), ("halpe26", 26), ("openpose18", 18), ("openpose25", 25), ("mediapipe33", 33)],
)
def test_joint_counts_and_unique_names(name, num_joints):
    layout = get_layout(name)
    assert layout.num_joints == num_joints
    assert len(set(layout.joints)) == num_joints


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_flip_is_an_involution_that_swaps_sides(name):
    layout = get_layout(name)
    flip = np.array(layout.flip)
    np.testing.assert_array_equal(flip[flip], np.arange(layout.num_joints))
    for joint, other in zip(layout.joints, flip, strict=True):
        swapped = layout.joints[other]
        assert joint.split("_")[1:] == swapped.split("_")[1:]
        assert (joint == swapped) == (not joint.startswith(("left_", "right_")))


def test_coco17_flip_by_hand():
    assert get_layout("coco17").flip == (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)


def test_openpose18_maps_onto_coco19_as_published():
    # The order that lets weights trained on OpenPose-18 carry over; joint 18, the pelvis, is derived.
    order = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10, 1]
    openpose = _numbered("openpose18")
    converted = convert(openpose, "openpose18", "coco19")
    np.testing.assert_array_equal(converted[:18], openpose[order])
    hips = openpose[[11, 8]]
    np.testing.assert_allclose(converted[18], [*hips[:, :2].mean(0), hips[:, 2].min()], rtol=1e-6)


def test_halpe26_maps_onto_coco19():
    halpe = _numbered("halpe26")
    np.testing.assert_array_equal(convert(halpe, "halpe26", "coco19"), halpe[[*range(17), 18, 19]])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([2, 4, 0.8], [4, 8, 0.6], [3, 6, 0.6]),
        ([2, 4, 0.8], [9, 9, 0.0], [2, 4, 0.4]),
        ([9, 9, -1.0], [4, 8, 0.6], [4, 8, 0.3]),
        ([9, 9, 0.0], [9, 9, 0.0], [0, 0, 0]),
    ],
)
def test_neck_and_pelvis_are_derived(left, right, expected):
    joints = np.zeros((17, 3), np.float32)
    joints[5], joints[6] = left, right
    joints[11], joints[12] = left, right
    converted = convert(joints, "coco17", "coco19")
    np.testing.assert_allclose(converted[17], expected, rtol=1e-6)
    np.testing.assert_allclose(converted[18], expected, rtol=1e-6)


def test_joints_that_the_source_lacks_are_absent():
    halpe = convert(_numbered("coco19")[None, None], "coco19", "halpe26")
    assert halpe.shape == (1, 1, 26, 3)
    names = get_layout("halpe26").joints
    absent = [names.index(name) for name in ("head", "left_big_toe", "right_heel")]
    np.testing.assert_array_equal(halpe[0, 0, absent], np.zeros((3, 3)))
    np.testing.assert_array_equal(halpe[0, 0, 18:20], _numbered("coco19")[17:19])


def test_absent_joints_lose_their_position():
    joints = _numbered("coco17")
    joints[3, 2] = 0
    np.testing.assert_array_equal(convert(joints, "coco17", "coco17")[3], np.zeros(3))
    assert joints[3, 0] == 4  # the input is left alone


def test_flip_commutes_with_conversion():
    joints = _numbered("mediapipe33")
    first = convert(joints[list(get_layout("mediapipe33").flip)], "mediapipe33", "coco19")
    second = convert(joints, "mediapipe33", "coco19")[list(get_layout("coco19").flip)]
    np.testing.assert_allclose(first, second)


def test_errors_name_the_layout():
    with pytest.raises(UserError, match="coco17, coco19, halpe26"):
        get_layout("coco18")
    with pytest.raises(UserError, match=r"coco17 has 17 joints.*\(18, 3\)"):
        convert(np.zeros((18, 3)), "coco17", "coco19")
