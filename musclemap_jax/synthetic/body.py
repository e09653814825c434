"""Body proportions, which vary by subject, and the rotations and two-bone chains that a kinematic body is made of.

Mean proportions follow the segment lengths over stature of Drillis and Contini (1966), as printed in D. A. Winter,
Biomechanics and Motor Control of Human Movement, chapter on anthropometry; the spread between subjects is ours.

World axes: x the way the subject faces when it stands, y to its left, z up; metres. A rotation is an array (T, 3, 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Proportions:
    """Segment lengths in metres, and the thickness of the drawn body.

    ``girth`` scales every drawn radius; the radii themselves are in figure.py.
    """

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
        """Hip to ankle, straight."""
        return self.thigh + self.shank

    @property
    def arm(self) -> float:
        """Shoulder to the grip of the hand, straight."""
        return self.upper_arm + self.forearm + self.hand


def sample_proportions(rng: np.random.Generator) -> Proportions:
    """A subject's proportions: stature 1.50 to 1.95 m, limbs and trunk a few per cent off, girth 0.85 to 1.25."""
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
    """Rotations (T, 3, 3) about the x (0), y (1) or z (2) axis; +y tips the head forward, +z turns to the left."""
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


def turned(matrix: np.ndarray, vector: tuple[float, float, float] | np.ndarray) -> np.ndarray:
    """(T, 3) the vector (3,) or (T, 3), given in the frame ``matrix`` (T, 3, 3), in that frame's parent."""
    return np.einsum("tij,tj->ti", matrix, np.broadcast_to(np.asarray(vector, np.float64), matrix.shape[:1] + (3,)))


def swing(raise_deg: np.ndarray, plane_deg: np.ndarray, twist_deg: np.ndarray) -> np.ndarray:
    """Frame of a limb that hangs down at 0 and is raised by ``raise_deg`` in a vertical plane.

    Args:
      raise_deg: (T,) 0 hangs down, 90 is level, 180 is overhead.
      plane_deg: (T,) 0 raises forward, 90 to the left, 180 backward.
      twist_deg: (T,) turn about the limb's own axis.

    Returns:
      (T, 3, 3) in the frame of the trunk; the limb runs along its -z, an elbow bends toward its +x, a knee
      toward its -x.
    """
    return rotation(2, plane_deg) @ rotation(1, -raise_deg) @ rotation(2, twist_deg - plane_deg)


def unit(vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) scaled to length one; a zero vector stays zero."""
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def two_bone(start: np.ndarray, target: np.ndarray, pole: np.ndarray, first: float, second: float):
    """A knee or an elbow for a limb from ``start`` toward ``target``.

    Args:
      start: (T, 3) hip or shoulder.
      target: (T, 3) wanted ankle or wrist; one out of reach is brought within reach along the line from start.
      pole: (T, 3) the way the middle joint points.
      first: length of the upper bone, metres.
      second: length of the lower bone, metres.

    Returns:
      middle and end joint, each (T, 3).
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
