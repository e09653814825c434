"""Sampling of a clip in time: the frames and the times of the poses that a model sees.

A window of the clip is divided into T equal parts, and the middle of each part is taken. For a clip shorter than the
window, the window is the whole clip, with frames repeated if necessary. That slows the motion down rather than freezing
its end, as repeating the last frame would.
"""

from __future__ import annotations

import math

import numpy as np


def source_stride(frame_stride: float, source_fps: float, target_fps: float) -> float:
    """Distance of the sampled frames in frames of the source, where `frame_stride` counts frames at `target_fps`.

    It counts the source's own frames if `target_fps` is 0, or if `source_fps` is not positive or not finite (unknown).
    """
    if target_fps <= 0 or not (math.isfinite(source_fps) and source_fps > 0):
        return float(frame_stride)
    return frame_stride * source_fps / target_fps


def train_indices(num_source: int, num_frames: int, stride: float, rng: np.random.Generator) -> np.ndarray:
    """One window that starts at a random frame.

    Args:
      num_source: Number of frames of the clip, at least 1.
      num_frames: T, number of frames to take.
      stride: Distance in frames of the clip; the window is `num_frames * stride` long.
      rng: Draws one integer: the start, uniform from 0 to the last one at which the window fits.

    Returns:
      (T,) int64 indices in [0, num_source - 1], non-decreasing.
    """
    last_start = max(num_source - num_frames * stride, 0.0)
    start = int(rng.integers(0, math.floor(last_start) + 1))
    return _window(num_source, num_frames, stride, np.array([start]))[0]


def eval_indices(num_source: int, num_frames: int, stride: float, num_views: int) -> np.ndarray:
    """(S, T) indices as `train_indices` gives them, of S views at fixed times.

    The views are spread evenly from the first window to the last; a single one is in the middle.
    """
    last_start = max(num_source - num_frames * stride, 0.0)
    places = np.array([0.5]) if num_views == 1 else np.arange(num_views) / (num_views - 1)
    return _window(num_source, num_frames, stride, last_start * places)


def pose_times(
    num_source: int, num_poses: int, min_span: float = 1.0, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Times of the poses: the middles of equal parts of the clip or, in training, of a random interval of it.

    Args:
      num_source: Number of frames of the clip, at least 1.
      num_poses: T_s.
      min_span: Smallest fraction of the clip that the random interval covers, in (0, 1].
      rng: Draws the interval's length and start; None takes the whole clip.

    Returns:
      (T_s,) float64 times in frames, in [0, num_source - 1].
    """
    span, start = float(num_source), 0.0
    if rng is not None:
        span = num_source * rng.uniform(min_span, 1.0)
        start = rng.uniform(0.0, num_source - span)
    times = start + (np.arange(num_poses) + 0.5) * span / num_poses - 0.5
    return np.clip(times, 0, num_source - 1)


def _window(num_source: int, num_frames: int, stride: float, starts: np.ndarray) -> np.ndarray:
    """(S, T) middles of the parts of the windows that begin at `starts` (S,)."""
    stride = min(stride, num_source / num_frames)
    middles = (np.arange(num_frames) + 0.5) * stride
    return np.minimum(np.floor(starts[:, None] + middles[None, :]).astype(np.int64), num_source - 1)
