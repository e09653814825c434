"""The table of segments and joint angles."""

from __future__ import annotations

import numpy as np
import pytest

from musclemap_jax.biomechanics.body import JOINT_ANGLES, SEGMENTS, middles
from musclemap_jax.skeleton_layouts import LAYOUTS


def test_the_segments_are_the_whole_body():
    assert sum(segment.mass for segment in SEGMENTS) == pytest.approx(1)
    assert all(0 <= segment.centre <= 1 for segment in SEGMENTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_joints(layout):
    names = set(LAYOUTS[layout].joints)
    ends = {name for segment in SEGMENTS for name in segment.proximal + segment.distal}
    angles = {name for at in JOINT_ANGLES for name in (at.joint, at.proximal, at.distal, at.end) if name}
    assert ends | angles <= names


def test_middles_mark_the_joints_of_a_group():
    marked = middles([("a", "c"), ("b", "absent")], ["a", "b", "c"])
    np.testing.assert_array_equal(marked, [[1, 0, 1], [0, 1, 0]])
