"""How far the joints of a person move in each repetition: the ranges of their angles in the picture.

A joint that rests looks at rest from every camera, while the range of one that moves depends on the view; so more
motion than expected says more than less of it.

Letters of shapes: S samples, R repetitions, A angles.
"""

from __future__ import annotations

import numpy as np

from musclemap_jax.coach.movement import RATE, Movement

ANGLES: dict[str, tuple[str, str, str]] = {
    "elbows": ("shoulder", "elbow", "wrist"),
    "shoulders": ("hip", "shoulder", "elbow"),
    "hips": ("shoulder", "hip", "knee"),
    "knees": ("hip", "knee", "ankle"),
}
"""Name -> the joints between which the angle is, at the middle one; that of the side that moves less counts."""

TRUNK = "trunk"
MOTIONS = (*ANGLES, TRUNK)
"""Names of the A ranges: of the angles, and of the trunk's inclination."""

AT_REST = 20.0
"""A joint rests if its range is below this, in degrees; that of one that moves depends too much on the camera."""

_PERCENTILES = (10, 90)
_SIDES = ("left", "right")


def motion_ranges(movement: Movement, repetitions: np.ndarray) -> np.ndarray:
    """(R, A) ranges of the `MOTIONS` in each repetition, in degrees; 0 where a joint is not seen.

    Args:
      movement: The movement.
      repetitions: (R, 2) times in seconds.
    """
    index = {name: v for v, name in enumerate(movement.joint_names)}
    all_paths = []
    for chain in ANGLES.values():
        sides = [[f"{side}_{joint}" for joint in chain] for side in _SIDES]
        all_paths.append(
            [_angle(movement.pose, [index[name] for name in side]) for side in sides if set(side) <= set(index)]
        )
    corners = [
        [index[name] for side in _SIDES if (name := f"{side}_{joint}") in index] for joint in ("shoulder", "hip")
    ]
    all_paths.append([_inclination(movement.pose, corners)] if all(len(pair) == 2 for pair in corners) else [])
    ranges = np.zeros((len(repetitions), len(MOTIONS)))
    for column, paths in enumerate(all_paths):
        for row, (start, end) in enumerate((RATE * repetitions).astype(int).tolist()):
            found = [np.ptp(np.percentile(path[start : max(end, start + 1)], _PERCENTILES)) for path in paths]
            ranges[row, column] = min(found, default=0.0)
    return ranges


def _inclination(pose: np.ndarray, corners: list[list[int]]) -> np.ndarray:
    """(S,) angle in degrees from the vertical to the line from the hips to the shoulders, without jumps by 360."""
    x, y = (pose[:, corners[0]].mean(axis=1) - pose[:, corners[1]].mean(axis=1)).T
    return np.degrees(np.unwrap(np.arctan2(x, -y)))


def _angle(pose: np.ndarray, joints: list[int]) -> np.ndarray:
    """(S,) angle in degrees at the second of three joints, in [0, 180]."""
    first, middle, last = (pose[:, v] for v in joints)
    a, b = first - middle, last - middle
    cosine = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-9)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
