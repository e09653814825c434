"""Holds of a static exercise, such as a plank: stretches in which a person keeps a pose.

A pose is kept while it hardly changes within `_COMPARED_S`.

Letters of shapes: S samples, J joints.
"""

from __future__ import annotations

import numpy as np

from musclemap_jax.coach.movement import RATE, Movement

MIN_HOLD_S = 4.0
"""Shorter stretches are pauses of a movement."""

_COMPARED_S = 0.8
_STILL = 0.055
"""Root mean square of the joints' displacement, in body sizes, between the means before and after a moment."""

_DRIFT = 0.2
_SAME = 0.8
"""A pose that differs so much from the stretch's median pose is another one; the same in most of it."""

_GAP_S = 0.5
_UPRIGHT = 0.9
"""Cosine between the body's axis and the vertical from which a person counts as upright."""


def still_stretches(movement: Movement) -> list[tuple[int, int]]:
    """First sample and the one after the last of each stretch of at least `MIN_HOLD_S` in which a pose is kept."""
    stretches = []
    for start, end in _runs(_still(movement.pose) & movement.seen, round(_GAP_S * RATE)):
        pose = movement.pose[start:end]
        same = pose_distance(pose, np.median(pose, axis=0)) < _DRIFT
        if end - start >= MIN_HOLD_S * RATE and same.mean() > _SAME:
            stretches.append((start, end))
    return stretches


def is_at_ease(movement: Movement, stretch: tuple[int, int]) -> bool:
    """Whether the pose of a stretch is that of a person who stands with straight legs and lowered arms."""
    return _at_ease(np.median(movement.pose[slice(*stretch)], axis=0), movement.joint_names)


def _still(pose: np.ndarray) -> np.ndarray:
    """(S,) bool: the mean poses before and after a moment are nearly the same."""
    half = max(1, round(_COMPARED_S * RATE / 2))
    sums = np.cumsum(np.pad(pose, ((half + 1, half), (0, 0), (0, 0)), mode="edge"), axis=0)
    before = (sums[half:-half] - sums[: -2 * half]) / half
    after = (sums[2 * half :] - sums[half:-half]) / half
    return pose_distance(after, before)[: len(pose)] < _STILL


def pose_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Root mean square over the joints of (..., J, 2) poses."""
    return np.sqrt(np.square(first - second).sum(axis=-1).mean(axis=-1))


def _runs(inside: np.ndarray, max_gap: int) -> list[tuple[int, int]]:
    """Start and end of the runs of True, joined over short gaps."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    runs: list[tuple[int, int]] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] <= max_gap:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


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
    return upright and (elbows is None or elbows[1] > shoulders[1] + 0.25 * (hips - shoulders)[1])


def _down(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the second place is below the first; y points down."""
    offset = second - first
    return bool(offset[1] >= _UPRIGHT * np.hypot(*offset))
