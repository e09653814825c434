"""The movement of a person as a curve of few dimensions, from joints with gaps and noise.

Places are relative to the body's middle and in units of its size, so that camera and distance do not matter. Each
coordinate is divided by its noise, and the principal components with the largest variance are kept: what moves is
seen, and joints that are found badly count little.

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

_AROUND = 5
_CLEARLY = 0.5
"""Frames before and after, whose median a pose is compared with, and the fraction of the distance that is clearly less:
estimators take left for right for a few frames."""

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
      joint_names: Their names.
      seen: (S,) bool, whether the person was seen.
      trunk: (S, 2) float64 from the middle of the hips to that of the shoulders, in body sizes; y points down.
    """

    curve: np.ndarray
    pose: np.ndarray
    joint_names: tuple[str, ...]
    seen: np.ndarray

    @property
    def duration_s(self) -> float:
        return len(self.curve) / RATE


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
    places, seen = _resampled(places, fps), _resampled(present[:, known].any(axis=1)[:, None].astype(float), fps)
    places = places - places.mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.square(places).sum(axis=2).mean()))
    if size <= 0:
        return None
    flat = (places / size).reshape(len(places), -1)
    smooth = _smoothed(flat)
    noise = 1.4826 * np.median(np.abs(flat - smooth), axis=0)
    curve = _principal_components((smooth - smooth.mean(axis=0)) / np.maximum(noise, _LEAST_NOISE))
    return Movement(curve, smooth.reshape(places.shape), names, seen[:, 0] > 0.5)


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
    """(T, J, 2) places, left and right exchanged where that is clearly nearer to those of the frames around."""
    swap = {"left": "right", "right": "left"}
    other = [f"{swap.get(name.split('_')[0], '')}_{name.partition('_')[2]}" for name in names]
    flip = [names.index(name) if name in names else place for place, name in enumerate(other)]
    padded = np.pad(places, ((_AROUND, _AROUND), (0, 0), (0, 0)), mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1, axis=0), axis=-1)
    straight, crossed = (np.square(each - around).sum(axis=(1, 2)) for each in (places, places[:, flip]))
    return np.where((crossed < _CLEARLY * straight)[:, None, None], places[:, flip], places)


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
    """(S, C) coordinates along the C directions of the largest variance."""
    _, vectors = np.linalg.eigh(values.T @ values)
    return values @ vectors[:, ::-1][:, :NUM_COMPONENTS]
