"""Arms and legs: which joints belong to them, and which muscle regions need only one of the two to be seen.

A muscle moves or holds the bones that it is attached to: those of the arms are seen on arms and trunk, all others on
legs and trunk. Ours, beyond the paper.

Letters of shapes: V joints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from musclemap_jax.taxonomy import MUSCLE_REGIONS

ARM_MUSCLES = ("chest", "shoulder", "biceps", "triceps", "forearms", "upper back", "latissimus", "wrists")
"""Names of MuscleMap's regions of the muscles that move or hold the arms."""

ARM_REGIONS = tuple(MUSCLE_REGIONS.index(name) for name in ARM_MUSCLES)
"""Their indices in `taxonomy.MUSCLE_REGIONS`."""

_JOINTS = {
    "arms": ("elbow", "wrist", "pinky", "index", "thumb"),
    "legs": ("knee", "ankle", "heel", "foot_index", "big_toe", "small_toe"),
}
"""Joints beyond shoulders and hips, without their side."""


def joints_without(limb: str, joint_names: Sequence[str]) -> Bool[np.ndarray, " V"]:
    """False for the joints of one kind of limb.

    Args:
      limb: "arms" or "legs".
      joint_names: Names of the V joints, such as a skeleton layout's.
    """
    return np.array([name.split("_", 1)[-1] not in _JOINTS[limb] for name in joint_names])
