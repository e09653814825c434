"""Joints kept for a second pass over the video."""

import numpy as np
import pytest

from musclemap_jax.predict.joint_store import JointStore
from tests.predict.handmade import COCO17, Frame, real_frames


def test_joints_come_back_by_frame_and_person():
    rng = np.random.default_rng(0)
    joints = rng.random((3, 17, 3)).astype(np.float32)
    store = JointStore()
    image = np.zeros((256, 340, 3), np.uint8)
    for number, persons in enumerate([{}, {2: joints[0], 7: joints[1]}, {}, {7: joints[2]}]):
        store(Frame(number, number / 30, image, persons))
    assert store.image_size == (256, 340)
    assert store.joint_names == COCO17
    found = [store.persons_of(number) for number in range(5)]
    assert [list(persons) for persons in found] == [[], [2, 7], [], [7], []]
    for person, expected in ((2, joints[0]), (7, joints[1])):
        np.testing.assert_array_equal(found[1][person], expected)
    np.testing.assert_array_equal(found[3][7], joints[2])


def test_joints_in_a_box_are_counted():
    store = JointStore()
    joints = {1: np.zeros((17, 3), np.float32), 2: np.zeros((17, 3), np.float32)}
    joints[1][:2] = [20, 40, 1]
    joints[2][:6] = [80, 5, 1]
    store(Frame(0, 0.0, np.zeros((50, 100, 3), np.uint8), joints))
    left_bottom = (0.0, 0.5, 0.5, 1.0)
    assert store.fraction_inside(left_bottom, 1) == 1
    assert store.fraction_inside(left_bottom, 2) == 0
    assert store.fraction_inside(left_bottom) == pytest.approx(2 / 8)
    assert JointStore().fraction_inside(left_bottom) == 0


def test_a_person_and_frame_takes_212_bytes():
    store = JointStore()
    for frame in real_frames():
        store(frame)
    arrays = (store._frames, store._persons, store._joints)
    assert sum(len(each) * each.itemsize for each in arrays) == 100 * 212
