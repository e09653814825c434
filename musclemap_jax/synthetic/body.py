"""Body proportions, which vary between subjects, and the rotations and two-bone chains of a kinematic body.

Mean proportions are the segment lengths relative to stature of Drillis and Contini (1966), as printed in D. A. Winter,
Biomechanics and Motor Control of Human Movement, chapter on anthropometry; the spread between subjects is ours.

World axes in metres: x is the direction in which the standing subject faces, y is to its left, z is up. A rotation is
an array (T, 3, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Proportions:
    """Segment lengths in metres, and ``girth``, a factor on the radii of the drawn body in person.py."""

    stature: float
    thigh: float
    shank: float
    ankle_height: float
    hip_half_width: float
    lumbar: float
    thorax: float
    shoulder_half_width: float
    shoulder_drop: float
    upper_arm: float
    forearm: float
    hand: float
    neck: float
    head_radius: float
    girth: float

    @property
    def leg(self) -> float:
        """Length of the straight leg, hip to ankle."""
        return self.thigh + self.shank

    @property
    def arm(self) -> float:
        """Length of the straight arm, shoulder to grip."""
        return self.upper_arm + self.forearm + self.hand


def sample_proportions(rng: np.random.Generator) -> Proportions:
    """Samples proportions: stature 1.50 to 1.95 m, limbs and trunk within a few per cent, girth 0.85 to 1.25."""
    stature = float(rng.uniform(1.50, 1.95))
    leg, trunk, arm = (stature * float(s) for s in rng.uniform(0.96, 1.04, 3))
    shoulder, hip = (stature * float(s) for s in rng.uniform((0.9, 0.92), (1.12, 1.12)))
    return Proportions(
        stature=stature,
        thigh=0.245 * leg,
        shank=0.246 * leg,
        ankle_height=0.040 * stature,
        hip_half_width=0.052 * hip,
        lumbar=0.125 * trunk,
        thorax=0.168 * trunk,
        shoulder_half_width=0.112 * shoulder,
        shoulder_drop=0.020 * stature,
        upper_arm=0.172 * arm,
        forearm=0.148 * arm,
        hand=0.040 * arm,
        neck=0.098 * stature,
        head_radius=0.056 * stature * float(rng.uniform(0.95, 1.08)),
        girth=float(rng.uniform(0.85, 1.25)),
    )


def rotation(axis: int, degrees: np.ndarray | float) -> np.ndarray:
    """Rotations (T, 3, 3) about the x (0), y (1) or z (2) axis; +y tilts the head forward, +z turns to the left."""
    angle = np.deg2rad(np.atleast_1d(np.asarray(degrees, np.float64)))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.zeros(angle.shape + (3, 3))
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    matrix[..., axis, axis] = 1.0
    matrix[..., i, i] = cos
    matrix[..., j, j] = cos
    matrix[..., i, j] = -sin
    matrix[..., j, i] = sin
    return matrix


def rotate(matrix: np.ndarray, vector: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    """Rotates a vector (3,) or (T, 3) from the frame ``matrix`` (T, 3, 3) to the frame's parent; returns (T, 3)."""
    return np.einsum("tij,tj->ti", matrix, np.broadcast_to(np.asarray(vector, np.float64), matrix.shape[:1] + (3,)))


def swing(raise_deg: np.ndarray, plane_deg: np.ndarray, twist_deg: np.ndarray) -> np.ndarray:
    """Frame of a limb that is raised in a vertical plane.

    Args:
      raise_deg: (T,) angle by which the limb is raised: 0 hangs down, 90 is horizontal, 180 is overhead.
      plane_deg: (T,) direction in which it is raised: 0 forward, 90 to the left, 180 backward.
      twist_deg: (T,) rotation about the limb's own axis.

    Returns:
      (T, 3, 3) in the frame of the trunk. The limb extends along its -z; an elbow bends toward its +x, a knee toward
      its -x.
    """
    return rotation(2, plane_deg) @ rotation(1, -raise_deg) @ rotation(2, twist_deg - plane_deg)


def unit(vector: np.ndarray) -> np.ndarray:
    """Scales vectors (..., 3) to unit length; a zero vector stays zero."""
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def solve_two_bones(
    start: np.ndarray, target: np.ndarray, pole: np.ndarray, first: float, second: float
) -> tuple[np.ndarray, np.ndarray]:
    """Two-bone inverse kinematics: the knee or elbow of a limb that reaches from ``start`` to ``target``.

    Args:
      start: (T, 3) hip or shoulder.
      target: (T, 3) ankle or wrist; if out of reach, it is moved toward ``start``.
      pole: (T, 3) direction in which the middle joint points.
      first: Length of the upper bone, metres.
      second: Length of the lower bone, metres.

    Returns:
      The middle joint and the end joint, each (T, 3).
    """
    offset = target - start
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    direction = offset / np.maximum(distance, 1e-9)
    distance = np.clip(distance, abs(first - second) + 0.02, 0.998 * (first + second))
    along = (first**2 - second**2 + distance**2) / (2.0 * distance)
    height = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    bend = unit(pole - direction * np.sum(pole * direction, axis=-1, keepdims=True))
    middle = start + direction * along + bend * height
    return middle, start + direction * distance
