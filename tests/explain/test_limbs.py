"""Limbs by the names of joints."""

import numpy as np

from musclemap_jax.explain.limbs import LIMBS, limb_joints, limb_of
from musclemap_jax.skeleton_layouts import LAYOUTS, get_layout


def test_the_limbs_of_coco():
    names = get_layout("coco19").joints
    members = {limb: [names[v] for v in np.flatnonzero(joints)] for limb, joints in limb_joints(names).items()}
    assert members == {
        "left arm": ["left_elbow", "left_wrist"],
        "right arm": ["right_elbow", "right_wrist"],
        "left leg": ["left_knee", "left_ankle"],
        "right leg": ["right_knee", "right_ankle"],
        "head": ["nose", "left_eye", "right_eye", "left_ear", "right_ear"],
    }


def test_every_joint_of_every_layout_is_a_limbs_or_the_trunks():
    trunk = {"neck", "pelvis", *(f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "hip"))}
    for layout in LAYOUTS.values():
        assert {name for name in layout.joints if limb_of(name) is None} <= trunk
        assert tuple(limb_joints(layout.joints)) == LIMBS


def test_a_layout_without_a_limb_has_no_such_limb():
    assert list(limb_joints(("nose", "left_wrist", "pelvis"))) == ["left arm", "head"]
