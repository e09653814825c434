"""The movement of a person as a curve of few dimensions, from joints with gaps and noise.

Places are relative to the body's middle and in units of its size, so that camera and distance do not matter; the
middle counts as one more joint, since in a calf raise nothing else moves. Each coordinate is divided by its noise, and
the principal components with the largest variance are kept: what moves is seen, and joints that are found badly count
little.

Letters of shapes: T frames at the video's rate, S samples at `RATE`, V joints, C components.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

RATE = 15.0
"""Samples per second; faster videos are averaged down to it."""

NUM_COMPONENTS = 6

MIN_SCORE = 0.3
"""Joints with a lower score are taken for absent: estimators guess hidden ones."""

MIN_SEEN = 0.3
"""Fraction of the frames below which a joint is left out, and a person counts as not seen."""

_JOINTS = ("nose", *(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                     for side in ("left", "right")))  # fmt: skip

_LIMBS = (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
_EXCHANGED = 0.02
"""Cost of a frame in which left and right are exchanged, in squared body sizes: estimators do so for a few frames."""

_UNSEEN_S = 0.7
"""A person who is not seen for less than twice this time was there."""

_DRIFT_S, _MIDDLE = 2.5, 0.5
"""Length of the mean that is taken from the place of the body's middle, and its weight: hand-held cameras move too."""

_LEAST_NOISE = 0.01
"""In body sizes: a coordinate that is found more exactly does not count more."""

_SMOOTHING_S = 0.12
"""Standard deviation of the smoothing filter."""


@dataclasses.dataclass(frozen=True)
class Movement:
    """A person's movement.

    Attributes:
      curve: (S, C) float64, in units of the noise, with mean zero.
      pose: (S, J, 2) float64 places of the J joints that were seen, in body sizes from the body's middle.
      middle: (S, 2) float64 place of the body's middle in the picture, in body sizes.
      joint_names: Their names.
      seen: (S,) bool, whether the person was seen.
      noise: Root mean square over the joints of the error of a place that differs from frame to frame, in body sizes.
    """

    curve: np.ndarray
    pose: np.ndarray
    middle: np.ndarray
    joint_names: tuple[str, ...]
    seen: np.ndarray
    noise: float


def movement(joints: np.ndarray, joint_names: Sequence[str], fps: float) -> Movement | None:
    """The movement of one person; None if too little of them is seen.

    Args:
      joints: (T, V, 3) x, y in any unit of equal sides, and score; absent joints score 0.
      joint_names: Names of the V joints.
      fps: Frames per second.
    """
    index = {name: v for v, name in enumerate(joint_names)}
    chosen = [name for name in _JOINTS if name in index]
    values = joints[:, [index[name] for name in chosen]].astype(np.float64)
    present = values[..., 2] >= MIN_SCORE
    known = present.mean(axis=0) >= MIN_SEEN
    if known.sum() < 4 or len(joints) < 2:
        return None
    names = tuple(name for name, is_known in zip(chosen, known, strict=True) if is_known)
    places = _without_gaps(values[:, known, :2], present[:, known])
    places = _with_sides_put_right(places, names)
    any_seen = np.any(present[:, known], axis=1, keepdims=True)
    places, seen = _resampled(places, fps), _resampled(any_seen.astype(float), fps)
    middle = places.mean(axis=1, keepdims=True)
    places = places - middle
    size = float(np.sqrt(np.square(places).sum(axis=2).mean()))
    if size <= 0:
        return None
    flat = (np.concatenate([places, _MIDDLE * _without_drift(middle)], axis=1) / size).reshape(len(places), -1)
    smooth = _smoothed(flat)
    noise = 1.4826 * np.median(np.abs(flat - smooth), axis=0)
    curve = _principal_components((smooth - smooth.mean(axis=0)) / np.maximum(noise, _LEAST_NOISE))
    pose = smooth[:, : 2 * len(names)].reshape(places.shape)
    rms_noise = float(np.sqrt(2 * np.square(noise[: 2 * len(names)]).mean()))
    place = _smoothed(middle[:, 0] / size)
    was_seen = _near_true(seen[:, 0] > 0.5, round(_UNSEEN_S * RATE))
    return Movement(curve, pose, place, names, was_seen, rms_noise)


def _without_gaps(places: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(T, J, 2) places, those of absent joints interpolated in time."""
    frames = np.arange(len(places))
    filled = np.empty_like(places)
    for joint in range(places.shape[1]):
        there = present[:, joint]
        for axis in (0, 1):
            filled[:, joint, axis] = np.interp(frames, frames[there], places[there, joint, axis])
    return filled


def _with_sides_put_right(places: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(T, J, 2) places, left and right exchanged in stretches at whose ends the limbs would jump otherwise.

    Arms and legs apart, the exchanges are chosen that make the way of the joints shortest, and are few.
    """
    result = places.copy()
    size = np.square(places - places.mean(axis=1, keepdims=True)).sum(axis=2).mean()
    for limb in _LIMBS:
        pairs = [(f"left_{joint}", f"right_{joint}") for joint in limb]
        known = [(names.index(one), names.index(other)) for one, other in pairs if {one, other} <= set(names)]
        left, right = np.array(known, int).reshape(-1, 2).T
        straight, crossed = places[:, [*left, *right]], places[:, [*right, *left]]
        stay = np.square(straight[1:] - straight[:-1]).sum(axis=(1, 2))
        change = np.square(crossed[1:] - straight[:-1]).sum(axis=(1, 2))
        exchanged = _cheapest_states(stay, change, _EXCHANGED * size)
        result[:, [*left, *right]] = np.where(exchanged[:, None, None], crossed, straight)
    return result


def _cheapest_states(stay: np.ndarray, change: np.ndarray, penalty: float) -> np.ndarray:
    """(T,) bool states of the least cost, by dynamic programming (Viterbi).

    Args:
      stay: (T - 1,) cost of keeping the state.
      change: (T - 1,) cost of changing it.
      penalty: Cost of each frame in the state True.
    """
    costs, came_from = np.array([0.0, penalty]), np.zeros((len(stay) + 1, 2), bool)
    for t, (kept, changed) in enumerate(zip(stay.tolist(), change.tolist(), strict=True), start=1):
        same, other = costs + kept, costs[::-1] + changed
        came_from[t] = other < same  # from the other state
        costs = np.minimum(same, other) + (0.0, penalty)
    states = np.zeros(len(came_from), bool)
    states[-1] = costs[1] < costs[0]
    for t in range(len(states) - 1, 0, -1):
        states[t - 1] = states[t] ^ came_from[t, int(states[t])]
    return states


def _without_drift(middle: np.ndarray) -> np.ndarray:
    """(S, 1, 2) the body's middle without slow motion, which may be the camera's."""
    half = round(_DRIFT_S * RATE / 2)
    padded = np.pad(middle, ((half, half), (0, 0), (0, 0)), mode="edge")
    sums: np.ndarray = np.cumsum(np.pad(padded, ((1, 0), (0, 0), (0, 0))), axis=0)
    width = 2 * half + 1
    return middle - (sums[width:] - sums[:-width]) / width


def _near_true(values: np.ndarray, margin: int) -> np.ndarray:
    """True as well up to `margin` samples from a True."""
    return np.convolve(np.pad(values, margin), np.ones(2 * margin + 1), mode="valid") > 0


def _resampled(values: np.ndarray, fps: float) -> np.ndarray:
    """(S, ...) samples at `RATE`; faster ones are averaged first."""
    num_frames = len(values)
    width = max(1, round(fps / RATE))
    if width > 1:
        kernel = np.full(width, 1 / width)
        padded = np.pad(values.reshape(num_frames, -1), ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
        values = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], 1).reshape(values.shape)
    times = np.arange(max(2, round(num_frames / fps * RATE))) * fps / RATE
    flat = values.reshape(num_frames, -1)
    sampled = np.stack([np.interp(times, np.arange(num_frames), column) for column in flat.T], axis=1)
    return sampled.reshape(len(times), *values.shape[1:])


def _smoothed(values: np.ndarray) -> np.ndarray:
    """(S, F) after a median of three samples, against outliers, and a Gaussian filter."""
    padded = np.pad(values, ((1, 1), (0, 0)), mode="edge")
    median = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    half = int(np.ceil(3 * _SMOOTHING_S * RATE))
    kernel = np.exp(-0.5 * np.square(np.arange(-half, half + 1) / (_SMOOTHING_S * RATE)))
    padded = np.pad(median, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=1)


def _principal_components(values: np.ndarray) -> np.ndarray:
    """(S, C) coordinates along the C directions of the largest variance.

    The variance along the next direction is taken for noise, that of every direction, and each is shrunk by it.
    """
    variances, vectors = np.linalg.eigh(values.T @ values)
    variances, vectors = variances[::-1], vectors[:, ::-1]
    noise = variances[NUM_COMPONENTS] if len(variances) > NUM_COMPONENTS else 0.0
    kept = variances[:NUM_COMPONENTS]
    weights = np.sqrt(np.maximum(1 - noise / np.maximum(kept, 1e-12), 0))
    return values @ vectors[:, :NUM_COMPONENTS] * weights
