"""The limbs of a skeleton, by the names of their joints: what one can leave out of a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_OUTER = {
    "arm": ("elbow", "wrist", "pinky", "index", "thumb"),
    "leg": ("knee", "ankle", "heel", "big_toe", "small_toe", "foot_index"),
}
"""Joints of a limb; shoulders and hips belong to the trunk."""

_HEAD = ("nose", "head", "eye", "ear", "eye_inner", "eye_outer", "mouth")

LIMBS = ("left arm", "right arm", "left leg", "right leg", "head")
"""Names of the limbs; left and right are the person's own."""


def limb_joints(joint_names: Sequence[str]) -> dict[str, np.ndarray]:
    """{limb: (V,) bool, True for its joints}, of the limbs that the layout has joints of.

    Args:
      joint_names: Names of the V joints.
    """
    members = {limb: np.array([limb_of(name) == limb for name in joint_names]) for limb in LIMBS}
    return {limb: joints for limb, joints in members.items() if joints.any()}


def limb_of(joint: str) -> str | None:
    """The limb that a joint belongs to; None for one of the trunk."""
    side, _, place = joint.partition("_")
    if side not in ("left", "right"):
        side, place = "", joint
    if place in _HEAD:
        return "head"
    return next((f"{side} {limb}" for limb, places in _OUTER.items() if place in places), None)
