"""Which frames and which times of a clip the models see.

A window of the clip is cut into T equal parts and the middle of each part is taken. A clip shorter than the window is
itself the window: its frames are spread over the whole clip (repeating some if need be), which speeds the motion up
rather than freezing the end as repeating the last frame would.
"""

from __future__ import annotations

import math

import numpy as np


def source_stride(frame_stride: float, source_fps: float, target_fps: float) -> float:
    """Frames of the source from one sampled frame to the next.

    Args:
      frame_stride: distance wanted, in frames at `target_fps`.
      source_fps: frames a second of the clip; not positive or not finite where unknown.
      target_fps: frames a second that `frame_stride` is meant at; 0 takes the source's frames as they are.
    """
    if target_fps <= 0 or not (math.isfinite(source_fps) and source_fps > 0):
        return float(frame_stride)
    return frame_stride * source_fps / target_fps


def train_indices(num_source: int, num_frames: int, stride: float, rng: np.random.Generator) -> np.ndarray:
    """One window that starts at a random frame.

    Args:
      num_source: frames of the clip, at least 1.
      num_frames: T, frames to take.
      stride: distance in frames of the clip; the window is `num_frames * stride` long.
      rng: one integer is drawn: the start, uniform over 0 to the last at which the window still fits.

    Returns:
      (T,) int64 indices in [0, num_source - 1], never falling.
    """
    last_start = max(num_source - num_frames * stride, 0.0)
    start = int(rng.integers(0, math.floor(last_start) + 1))
    return _window(num_source, num_frames, stride, np.array([start]))[0]


def eval_indices(num_source: int, num_frames: int, stride: float, num_views: int) -> np.ndarray:
    """Views in time at fixed places: evenly from the first window to the last; a single one is in the middle.

    Args:
      num_source: frames of the clip, at least 1.
      num_frames: T, frames of one view.
      stride: distance in frames of the clip.
      num_views: S.

    Returns:
      (S, T) int64 indices in [0, num_source - 1].
    """
    last_start = max(num_source - num_frames * stride, 0.0)
    places = np.array([0.5]) if num_views == 1 else np.arange(num_views) / (num_views - 1)
    return _window(num_source, num_frames, stride, last_start * places)


def pose_times(
    num_source: int, num_poses: int, min_span: float = 1.0, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Times of the poses: the middles of equal parts of the clip, or in training of a random stretch of it.

    Args:
      num_source: frames of the clip, at least 1.
      num_poses: T_s.
      min_span: shortest share of the clip that the random stretch takes, in (0, 1].
      rng: draws the stretch's length and start; None takes the whole clip.

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
    """(S, T) middles of the parts of windows that begin at `starts` (S,)."""
    stride = min(stride, num_source / num_frames)
    middles = (np.arange(num_frames) + 0.5) * stride
    return np.minimum(np.floor(starts[:, None] + middles[None, :]).astype(np.int64), num_source - 1)
