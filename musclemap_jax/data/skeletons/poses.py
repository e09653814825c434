"""A clip's skeleton as a model takes it: a fixed number of poses and persons, at a normalised place and size.

Everywhere a joint with score 0 is absent and has x = y = 0.
"""

from __future__ import annotations

import numpy as np

_MAX_DISTANCE = 4.0
"""Bound on a joint's distance from the centre, in medians of the distances, where a person's size is measured."""


def sample_poses(skeleton: np.ndarray, times: np.ndarray, num_persons: int) -> np.ndarray:
    """(T_s, P, V, 3) float32 poses of a fixed number of persons at given times.

    Between two frames a joint and its score are interpolated linearly. A joint that is present in only one of the two
    is taken from it if that frame is the nearer one, and is absent otherwise. The first persons are kept, missing ones
    are absent.

    Args:
      skeleton: (T, P_in, V, 3) x, y, score; T at least 1.
      times: (T_s,) times of the poses in frames, in [0, T - 1]; see `sampling.pose_times`.
      num_persons: P.
    """
    num_frames, found, num_joints, _ = skeleton.shape
    before = np.floor(times).astype(np.int64)
    after = np.minimum(before + 1, num_frames - 1)
    weight = (times - before).astype(np.float32)[:, None, None, None]

    kept = min(found, num_persons)
    first, second = skeleton[before, :kept], skeleton[after, :kept]
    both = (first[..., 2:] > 0) & (second[..., 2:] > 0)
    nearer = np.where(weight <= 0.5, first, second)
    sampled = np.where(both, first + weight * (second - first), nearer)

    poses = np.zeros((len(times), num_persons, num_joints, 3), np.float32)
    poses[:, :kept] = np.where(sampled[..., 2:] > 0, sampled, 0)
    return poses


def normalise_poses(poses: np.ndarray) -> np.ndarray:
    """Places relative to the person's centre and size, one of each per person and clip, so that motion is kept.

    The centre is the score-weighted median of x and of y over all joints and poses. The size is the score-weighted mean
    distance from it, with distances limited to four times their median so that a few joints that the detector put far
    away change little. Places are then about [-2.5, 2.5], with y still downwards.

    Args:
      poses: (T_s, P, V, 3) x, y in square pixels, score.

    Returns:
      (T_s, P, V, 3) float32 x, y normalised, score unchanged; absent joints are all zero.
    """
    normalised = np.zeros(poses.shape, np.float32)
    for person in range(poses.shape[1]):
        weights = poses[:, person, :, 2]
        total = weights.sum()
        if total <= 0:
            continue
        places = poses[:, person, :, :2]
        centre = np.array([_weighted_median(places[..., axis], weights) for axis in (0, 1)], np.float32)
        offsets = places - centre
        distances = np.hypot(offsets[..., 0], offsets[..., 1])
        distances = np.minimum(distances, _MAX_DISTANCE * _weighted_median(distances, weights))
        size = float((distances * weights).sum() / total)
        # A person whose joints all lie in one point has no size: any positive one keeps the zeros zero.
        normalised[:, person, :, :2] = offsets / max(size, 1e-3)
        normalised[:, person, :, 2] = weights
    return np.where(normalised[..., 2:] > 0, normalised, 0)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    values, weights = values.ravel(), weights.ravel()
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order], dtype=np.float64)
    return float(values[order[np.searchsorted(cumulative, cumulative[-1] / 2)]])
