"""Holds of a static exercise, such as a plank: stretches in which a person keeps a pose.

A pose is kept while it hardly changes within `_COMPARED_S`.

Letters of shapes: S samples, J joints.
"""

from __future__ import annotations

import numpy as np

from musclemap_jax.coach.movement import RATE, Movement

MIN_HOLD_S = 5.0
"""Shorter stretches are pauses of a movement."""

_COMPARED_S = 1.0
_LATE = 0.35
"""A stretch is seen to begin too late, and to end too early, by this fraction of that time."""

_STILL, _STILL_NOISE = 0.045, 2.2
"""Root mean square of the joints' displacement, in body sizes, between the means before and after a moment; or in units
of the noise, if that is more."""

_GAP_S, _NEAR = 1.2, 0.06
"""Two stretches are one if there is at most this time between them, and their poses are as near as this."""

_THIGH, _TRUNK = 0.75, 0.85
"""Least height of the thigh in shanks, and largest of the trunk in legs, of a person who stands."""

_UPRIGHT = 0.9
"""Cosine between the body's axis and the vertical from which a person counts as upright."""


def still_stretches(movement: Movement) -> list[tuple[int, int]]:
    """First sample and the one after the last of each stretch of at least `MIN_HOLD_S` in which a pose is kept."""
    stretches: list[tuple[int, int]] = []
    margin = round(_LATE * _COMPARED_S * RATE)
    for start, end in _runs(_widened(_still(movement), margin) & movement.seen):
        if stretches and _is_one(movement.pose, stretches[-1], (start, end)):
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    return [(start, end) for start, end in stretches if end - start >= MIN_HOLD_S * RATE]


def _is_one(pose: np.ndarray, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether a pose is kept in both stretches, and what lies between them is an error of the estimator."""
    before, after = (np.median(pose[slice(*each)], axis=0) for each in (first, second))
    return second[0] - first[1] <= _GAP_S * RATE and bool(pose_distance(before, after) < _NEAR)


def is_at_ease(movement: Movement, stretch: tuple[int, int]) -> bool:
    """Whether the pose of a stretch is that of a person who stands with straight legs and lowered arms."""
    return _at_ease(np.median(movement.pose[slice(*stretch)], axis=0), movement.joint_names)


def _still(movement: Movement) -> np.ndarray:
    """(S,) bool: the mean poses before and after a moment are nearly the same."""
    pose, half = movement.pose, max(1, round(_COMPARED_S * RATE / 2))
    sums = np.cumsum(np.pad(pose, ((half + 1, half), (0, 0), (0, 0)), mode="edge"), axis=0)
    before = (sums[half:-half] - sums[: -2 * half]) / half
    after = (sums[2 * half :] - sums[half:-half]) / half
    return pose_distance(after, before)[: len(pose)] < max(_STILL, _STILL_NOISE * movement.noise)


def pose_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Root mean square over the joints of (..., J, 2) poses."""
    return np.sqrt(np.square(first - second).sum(axis=-1).mean(axis=-1))


def _widened(inside: np.ndarray, margin: int) -> np.ndarray:
    """Runs of True longer than twice the margin, wider by it at both ends; the others are dropped."""
    wide = np.zeros_like(inside)
    for start, end in _runs(inside):
        if end - start > 2 * margin:
            wide[max(0, start - margin) : end + margin] = True
    return wide


def _runs(inside: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return [(start, end) for start, end in edges.reshape(-1, 2).tolist()]


def _at_ease(pose: np.ndarray, joint_names: tuple[str, ...]) -> bool:
    index = {name: v for v, name in enumerate(joint_names)}

    def middle(joint: str) -> np.ndarray | None:
        sides = [pose[index[name]] for name in (f"left_{joint}", f"right_{joint}") if name in index]
        return np.mean(sides, axis=0) if sides else None

    shoulders, hips, knees, ankles = (middle(joint) for joint in ("shoulder", "hip", "knee", "ankle"))
    elbows = middle("elbow")
    if shoulders is None or hips is None or knees is None or ankles is None:
        return False
    upright = all(_down(first, second) for first, second in ((shoulders, hips), (hips, knees), (knees, ankles)))
    thigh, shank, trunk = (abs(a - b)[1] for a, b in ((hips, knees), (knees, ankles), (shoulders, hips)))
    straight = thigh > _THIGH * shank and trunk < _TRUNK * (thigh + shank)  # from the front, a squat looks short
    return upright and straight and (elbows is None or elbows[1] > shoulders[1] + 0.25 * (hips - shoulders)[1])


def _down(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the second place is below the first; y points down."""
    offset = second - first
    return bool(offset[1] >= _UPRIGHT * np.hypot(*offset))
