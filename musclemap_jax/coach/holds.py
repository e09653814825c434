"""Holds of a static exercise, such as a plank: stretches in which a person keeps a pose.

A pose is kept while it hardly changes within `_COMPARED_S`.

Letters of shapes: S samples, J joints.
"""

from __future__ import annotations

import itertools

import numpy as np

from musclemap_jax.coach.movement import RATE, Movement
from musclemap_jax.coach.runs import all_runs

MIN_HOLD_S = 5.0
"""Shorter stretches are pauses of a movement."""

_COMPARED_S = 1.0
_LATE = 0.12
"""A stretch is seen to begin too late, and to end too early, by this fraction of that time, on rendered holds."""

_STILL, _STILL_NOISE = 0.045, 2.2
"""Root mean square of the joints' displacement, in body sizes, between the means before and after a moment; or in units
of the noise, if that is more."""

_GAP_S, _NEAR, _NEAR_NOISE = 1.2, 0.04, 2.0
"""Two stretches are one if there is at most this time between them, and their poses are as near as this, or as this in
units of the noise."""

_TWO_POSES, _REACHED = 5.0, 0.9
"""Distance of two poses between which a stretch changes, in standard deviations within each, from which they are two
(that of the halves of a uniform distribution is 3.5); and the fraction of the way on which a pose counts as reached."""

_LONGEST_PERCENTILE, _STRAIGHT, _LOWERED = 95, 0.85, 0.25
"""Of the legs' height over the video, the percentile that is their length; the least fraction of it for straight legs;
and how far down the trunk the elbows of lowered arms are."""

_UPRIGHT = 0.9
"""Cosine between the body's axis and the vertical from which a person counts as upright."""


def still_stretches(movement: Movement) -> list[tuple[int, int]]:
    """First sample and the one after the last of each stretch of at least `MIN_HOLD_S` in which a pose is kept."""
    stretches: list[tuple[int, int]] = []
    margin = round(_LATE * _COMPARED_S * RATE)
    for start, end in all_runs(_widened(_still(movement), margin) & movement.seen):
        if stretches and _is_one(movement, stretches[-1], (start, end)):
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    parts = [part for stretch in _long(stretches) for part in _parts_of_one_pose(movement, stretch)]
    return _long(parts)


def _long(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(start, end) for start, end in stretches if end - start >= MIN_HOLD_S * RATE]


def _is_one(movement: Movement, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether a pose is kept in both stretches, and what lies between them is an error of the estimator."""
    before, after = (np.median(movement.pose[slice(*each)], axis=0) for each in (first, second))
    is_near = pose_distance(before, after) < max(_NEAR, _NEAR_NOISE * movement.noise)
    return second[0] - first[1] <= _GAP_S * RATE and bool(is_near)


def _parts_of_one_pose(movement: Movement, stretch: tuple[int, int]) -> list[tuple[int, int]]:
    """The parts of a stretch in which one of two poses is kept, or the whole stretch if it has one pose.

    A movement of few joints, such as hips that sink between two holds, hardly shows in the mean over all joints. But
    then the pose lies near two places on the line along which it varies most.
    """
    start, end = stretch
    pose = movement.pose[start:end].reshape(end - start, -1)
    pose = pose - pose.mean(axis=0)
    along: np.ndarray = pose @ np.linalg.svd(pose, full_matrices=False)[2][0]
    below, above = _two_means(along)
    apart, is_above = above - below, along > (above + below) / 2
    if apart < _TWO_POSES * np.std(along - np.where(is_above, above, below)):
        return [stretch]
    for value in (True, False):
        for first, last in all_runs(is_above == value):
            if first > 0 and last < end - start and last - first <= _GAP_S * RATE:
                is_above[first:last] = not value  # an error of the estimator
    parts = []
    for value in (True, False):
        inside = is_above == value
        away = np.abs(along - np.median(along[inside])) if inside.any() else along
        for first, last in all_runs(inside):
            reached = start + first + np.flatnonzero(away[first:last] <= (1 - _REACHED) * apart)
            if len(reached):
                parts.append((int(reached[0]), int(reached[-1]) + 1))
    return sorted(parts)


def _two_means(values: np.ndarray) -> tuple[float, float]:
    """Means of the lower and of the upper part of numbers, divided where the parts vary least within.

    Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    ordered, number = np.sort(values), np.arange(1, len(values))
    below = np.cumsum(ordered)[:-1] / number
    above = (ordered.sum() - number * below) / number[::-1]
    place = int(np.argmax(number * number[::-1] * np.square(above - below)))
    return float(below[place]), float(above[place])


def is_at_ease(movement: Movement, stretch: tuple[int, int]) -> bool:
    """Whether the pose of a stretch is that of a person who stands with straight legs and lowered arms.

    From the front, a squat looks like a smaller person, so the legs must be about as long as anywhere in the video.
    """
    joints = {
        joint: np.mean([movement.pose[:, v] for v in places], axis=0)
        for joint in ("shoulder", "elbow", "hip", "knee", "ankle")
        if (places := [v for v, name in enumerate(movement.joint_names) if name.endswith(joint)])
    }
    if not {"shoulder", "hip", "knee", "ankle"} <= set(joints):
        return False
    pose = {joint: np.median(path[slice(*stretch)], axis=0) for joint, path in joints.items()}
    chain = [pose[joint] for joint in ("shoulder", "hip", "knee", "ankle")]
    upright = all(_down(first, second) for first, second in itertools.pairwise(chain))
    longest = np.percentile((joints["ankle"] - joints["hip"])[:, 1], _LONGEST_PERCENTILE)
    straight = (pose["ankle"] - pose["hip"])[1] >= _STRAIGHT * longest
    lowest = pose["shoulder"][1] + _LOWERED * (pose["hip"] - pose["shoulder"])[1]
    return bool(upright and straight and ("elbow" not in pose or pose["elbow"][1] > lowest))


def _still(movement: Movement) -> np.ndarray:
    """(S,) bool: the mean poses before and after a moment are nearly the same."""
    pose, half = movement.pose, max(1, round(_COMPARED_S * RATE / 2))
    sums: np.ndarray = np.cumsum(np.pad(pose, ((half + 1, half), (0, 0), (0, 0)), mode="edge"), axis=0)
    before = (sums[half:-half] - sums[: -2 * half]) / half
    after = (sums[2 * half :] - sums[half:-half]) / half
    return pose_distance(after, before)[: len(pose)] < max(_STILL, _STILL_NOISE * movement.noise)


def pose_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Root mean square over the joints of (..., J, 2) poses."""
    return np.sqrt(np.square(first - second).sum(axis=-1).mean(axis=-1))


def _widened(inside: np.ndarray, margin: int) -> np.ndarray:
    """Runs of True longer than twice the margin, wider by it at both ends; the others are dropped."""
    wide = np.zeros_like(inside)
    for start, end in all_runs(inside):
        if end - start > 2 * margin:
            wide[max(0, start - margin) : end + margin] = True
    return wide


def _down(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the second place is below the first; y points down."""
    offset = second - first
    return bool(offset[1] >= _UPRIGHT * np.hypot(*offset))
