"""Named orders of 2D joints, and the conversion from one order to another by the joints' names.

The layouts are those that pose estimators write: COCO-17 (AlphaPose), Halpe-26 (AlphaPose), OpenPose-18 (COCO model),
OpenPose-25 (BODY_25), MediaPipe Pose (33 landmarks). Halpe-136 (AlphaPose) is Halpe-26 followed by face and hands,
which are dropped on reading, so it is read as ``halpe26``. ``coco19`` is the order that the models take: COCO-17, then
the neck (midpoint of the shoulders) and the pelvis (midpoint of the hips). A joint has the same name in every layout
that contains it. OpenPose's and Halpe's own neck and pelvis are used unchanged, so weights transfer between the
layouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from musclemap_jax.errors import UserError


def _joints(names: str) -> tuple[str, ...]:
    return tuple(names.split())


_COCO17 = _joints(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_OPENPOSE18 = _joints(
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
)
_OPENPOSE25 = _joints(
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist pelvis "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear "
    "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel"
)
_HALPE26 = _COCO17 + _joints(
    "head neck pelvis left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel"
)
_MEDIAPIPE33 = _joints(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee "
    "left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index"
)

_DERIVED = {"neck": ("left_shoulder", "right_shoulder"), "pelvis": ("left_hip", "right_hip")}
"""Joints that are derived, where a layout lacks them, as the midpoint of two others."""


@dataclass(frozen=True)
class SkeletonLayout:
    """An order of joints.

    Attributes:
      name: The layout's name.
      joints: Names of the V joints, in order; left and right are the person's own.
    """

    name: str
    joints: tuple[str, ...]

    @property
    def num_joints(self) -> int:
        """V, the number of joints."""
        return len(self.joints)

    @property
    def flip(self) -> tuple[int, ...]:
        """(V,) permutation that swaps left and right joints: ``flipped[..., v, :] = joints[..., flip[v], :]``."""
        swap = {"left_": "right_", "right_": "left_"}
        mirrored = []
        for joint in self.joints:
            side = next((prefix for prefix in swap if joint.startswith(prefix)), None)
            mirrored.append(joint if side is None else swap[side] + joint.removeprefix(side))
        return tuple(self.joints.index(joint) for joint in mirrored)


LAYOUTS: dict[str, SkeletonLayout] = {
    name: SkeletonLayout(name, joints)
    for name, joints in (
        ("coco17", _COCO17),
        ("coco19", _COCO17 + ("neck", "pelvis")),
        ("halpe26", _HALPE26),
        ("openpose18", _OPENPOSE18),
        ("openpose25", _OPENPOSE25),
        ("mediapipe33", _MEDIAPIPE33),
    )
}
"""Every layout that a raw data set may declare, by name."""

EXTENDED_LAYOUTS = {"halpe136": ("halpe26", 136)}
"""Joint orders that begin with all joints of a layout: that layout, and the total number of joints."""

_BONES: tuple[tuple[str, str], ...] = (
    *((f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in (
        ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"),
        ("ankle", "heel"), ("ankle", "big_toe"), ("ankle", "foot_index"), ("eye", "ear"),
    )),
    *(("nose", f"{side}_eye") for side in ("left", "right")),
    ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("nose", "neck"), ("neck", "pelvis"),
)  # fmt: skip
"""Pairs of joints that drawings of a skeleton connect by a line; a layout may lack some of them."""


def bones(joint_names: Sequence[str]) -> list[tuple[int, int]]:
    """Indices of the pairs of joints that a drawing connects by a line."""
    index = {name: v for v, name in enumerate(joint_names)}
    return [(index[a], index[b]) for a, b in _BONES if a in index and b in index]


def get_layout(name: str) -> SkeletonLayout:
    """The layout of that name.

    Raises:
      UserError: There is none; the message lists the layouts.
    """
    if name not in LAYOUTS:
        raise UserError(f"skeleton layout: expected one of {', '.join(LAYOUTS)}, got {name!r}")
    return LAYOUTS[name]


def convert(joints: Shaped[np.ndarray, "*persons _ 3"], source: str, target: str) -> Float[np.ndarray, "*persons _ 3"]:
    """Reorders joints from one layout to another, by name.

    A joint with a score of 0 or less is absent; absent joints become x = y = score = 0. The neck and the pelvis are
    derived where the source lacks them: the midpoint of the pair with the lower of the two scores; if one of the pair
    is absent, the position of the other with half its score; if both are, absent. Any other joint that the source lacks
    is absent.

    Args:
      joints: x, y (any unit) and score of each joint.
      source: Name of the layout of ``joints``.
      target: Name of the layout to convert to.

    Returns:
      A new float32 array.

    Raises:
      UserError: A layout is unknown, or the number of joints is not the source layout's.
    """
    source_layout, target_layout = get_layout(source), get_layout(target)
    joints = np.asarray(joints, np.float32)
    if joints.ndim < 2 or joints.shape[-2:] != (source_layout.num_joints, 3):
        raise UserError(
            f"skeleton layout {source} has {source_layout.num_joints} joints of (x, y, score), "
            f"got an array of shape {joints.shape}"
        )
    joints = np.where(joints[..., 2:] > 0, joints, np.float32(0))
    converted = np.zeros((*joints.shape[:-2], target_layout.num_joints, 3), np.float32)
    for index, name in enumerate(target_layout.joints):
        if name in source_layout.joints:
            converted[..., index, :] = joints[..., source_layout.joints.index(name), :]
        elif name in _DERIVED:
            first, second = (joints[..., source_layout.joints.index(joint), :] for joint in _DERIVED[name])
            converted[..., index, :] = _midpoint(first, second)
    return converted


def _midpoint(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(..., 3) midpoint of two joints; absent joints are all zero."""
    both = (first[..., 2:] > 0) & (second[..., 2:] > 0)
    midpoint = (first + second) / 2
    midpoint[..., 2] = np.minimum(first[..., 2], second[..., 2])
    alone = first + second
    alone[..., 2] /= 2
    return np.where(both, midpoint, alone)
