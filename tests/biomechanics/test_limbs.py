"""Arms and legs of every layout."""

import numpy as np
import pytest

from musclemap_jax.biomechanics.limbs import ARM_REGIONS, joints_without
from musclemap_jax.skeleton_layouts import LAYOUTS


@pytest.mark.parametrize(
    ("layout", "arms", "legs"),
    [("coco17", 4, 4), ("coco19", 4, 4), ("openpose25", 4, 10), ("halpe26", 4, 10), ("mediapipe33", 10, 8)],
)
def test_joints_of_limbs(layout, arms, legs):
    names = LAYOUTS[layout].joints
    without_arms, without_legs = (joints_without(limb, names) for limb in ("arms", "legs"))
    assert ((~without_arms).sum(), (~without_legs).sum()) == (arms, legs)
    trunk = np.array(names)[without_arms & without_legs]
    assert {"nose", "left_shoulder", "right_hip"} <= set(trunk)


def test_regions_of_the_arms_are_muscle_maps():
    assert ARM_REGIONS == (1, 2, 3, 4, 5, 6, 7, 19)
