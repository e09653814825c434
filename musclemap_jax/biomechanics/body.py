"""The body's segments with their masses, and its joint angles.

Source of the masses and centres: Winter, "Biomechanics and Motor Control of Human Movement", 4th edition, 2009, table
4.1. Skeletons in COCO's order end at wrist and ankle, so a hand is part of its forearm and a foot of its shank, for
which the table has rows of their own. The trunk's ends, greater trochanters and shoulder joints, are our hips and
shoulders; the centre of head and neck is at the ear canal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

SIDES = ("left", "right")


@dataclasses.dataclass(frozen=True)
class Segment:
    """A rigid part of the body.

    Attributes:
      name: Its name.
      proximal: Joints whose middle is its proximal end.
      distal: Joints whose middle is its distal end.
      mass: Fraction of the body's mass.
      centre: Place of its centre of mass between the ends: 0 is the proximal one, 1 the distal one.
    """

    name: str
    proximal: tuple[str, ...]
    distal: tuple[str, ...]
    mass: float
    centre: float


@dataclasses.dataclass(frozen=True)
class JointAngle:
    """The angle at a joint: between the directions to two other joints, from 0 (folded) to pi (straight).

    Attributes:
      joint: The joint.
      proximal: The joint before it, nearer to the trunk.
      distal: The joint behind it; None for the vertical upwards: without a toe, the ankle's angle is the inclination of
        its shank, which is its dorsiflexion while the foot is flat on the ground.
      end: The free end of the limb that the joint moves.
    """

    joint: str
    proximal: str
    distal: str | None
    end: str


_SHOULDERS, _HIPS, _EARS = (tuple(f"{side}_{joint}" for side in SIDES) for joint in ("shoulder", "hip", "ear"))
NECK, PELVIS = _SHOULDERS, _HIPS
"""The ends of the trunk are the middles of these."""


def _of_side(side: str) -> tuple[Segment, ...]:
    shoulder, elbow, wrist, hip, knee, ankle = (
        (f"{side}_{joint}",) for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    )
    return (
        Segment(f"{side} upper arm", shoulder, elbow, mass=0.028, centre=0.436),
        Segment(f"{side} forearm and hand", elbow, wrist, mass=0.022, centre=0.682),
        Segment(f"{side} thigh", hip, knee, mass=0.100, centre=0.433),
        Segment(f"{side} shank and foot", knee, ankle, mass=0.061, centre=0.606),
    )


SEGMENTS: tuple[Segment, ...] = (
    Segment("head and neck", _SHOULDERS, _EARS, mass=0.081, centre=1.0),
    Segment("trunk", _HIPS, _SHOULDERS, mass=0.497, centre=0.5),
    *_of_side("left"),
    *_of_side("right"),
)
"""The whole body: the masses sum to 1."""

JOINT_ANGLES: tuple[JointAngle, ...] = tuple(
    JointAngle(f"{side}_{joint}", f"{side}_{proximal}", distal and f"{side}_{distal}", f"{side}_{end}")
    for side in SIDES
    for joint, proximal, distal, end in (
        ("elbow", "shoulder", "wrist", "wrist"),
        ("shoulder", "hip", "elbow", "wrist"),
        ("hip", "shoulder", "knee", "ankle"),
        ("knee", "hip", "ankle", "ankle"),
        ("ankle", "knee", None, "ankle"),
    )
)


def middles(groups: Sequence[tuple[str, ...]], joint_names: Sequence[str]) -> Float32[np.ndarray, "E V"]:
    """(E, V) 1 for each joint of a group, which marks a place by the middle of its joints that are present.

    Args:
      groups: E groups of joints; a joint that the layout lacks is left out.
      joint_names: V names, in the layout's order.
    """
    return np.array([[float(name in group) for name in joint_names] for group in groups], np.float32)
