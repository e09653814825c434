"""The errors of a 2D pose estimator, applied to true joints: jitter, gaps, low scores and swaps.

The kinds of error are those that users of AlphaPose and OpenPose report (joint jitter, missing limbs, dropped frames,
left and right swapped, bystanders); their frequencies are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musclemap_jax.skeleton_layouts import get_layout

_FLIP = list(get_layout("coco17").flip)
_SPREAD = np.array([0.5, 0.5, 0.5, 0.6, 0.6, 1.1, 1.1, 1.0, 1.0, 0.9, 0.9, 1.5, 1.5, 1.2, 1.2, 1.2, 1.2])
"""Each joint's jitter relative to the mean, after COCO's per-joint spread: hips and shoulders are found less exactly
than hands or the face."""


@dataclass(frozen=True)
class Corruption:
    """The pose estimator's errors on one clip.

    Attributes:
      jitter: Standard deviation of a visible joint's position, as a fraction of the person's height in the picture.
      hidden_jitter: The same for a hidden joint.
      missing: Probability that a visible joint is absent in a frame.
      hidden_missing: The same for a hidden joint.
      lost_frames: Probability that a run of frames without the person starts at a frame.
      swap: Probability that a run of frames with left and right swapped starts at a frame.
      score: Mean score of a visible joint.
    """

    jitter: float
    hidden_jitter: float
    missing: float
    hidden_missing: float
    lost_frames: float
    swap: float
    score: float


def sample_corruption(rng: np.random.Generator) -> Corruption:
    """Samples the errors on one clip; about one clip in seven is poor in every respect."""
    poor = rng.random() < 0.15
    factor = float(rng.uniform(1.6, 2.6)) if poor else 1.0
    return Corruption(
        jitter=float(rng.uniform(0.004, 0.009)) * factor,
        hidden_jitter=float(rng.uniform(0.012, 0.025)) * factor,
        missing=float(rng.uniform(0.0, 0.012)) * factor,
        hidden_missing=float(rng.uniform(0.03, 0.15)) * factor,
        lost_frames=float(rng.choice((0.0, 0.01, 0.03), p=(0.55, 0.3, 0.15))) * factor,
        swap=float(rng.choice((0.0, 0.01), p=(0.7, 0.3))) * factor,
        score=float(rng.uniform(0.45, 0.65)) if poor else float(rng.uniform(0.75, 0.92)),
    )


def corrupt(joints: np.ndarray, visible: np.ndarray, corruption: Corruption, rng: np.random.Generator) -> np.ndarray:
    """One person's joints as a pose estimator would find them.

    Args:
      joints: (T, 17, 2) true positions, pixels.
      visible: (T, 17) bool, False for joints that are hidden or outside the picture.
      rng: Source of randomness.

    Returns:
      (T, 17, 3) x, y, score; absent joints are all zero.
    """
    num_frames = len(joints)
    spans = joints.max(axis=1) - joints.min(axis=1)
    size = float(np.median(spans.max(axis=-1)))
    sigma = np.where(visible, corruption.jitter, corruption.hidden_jitter) * size * _SPREAD
    # Part of the error persists over frames, part is independent in each.
    noise = 0.75 * _smooth(rng.normal(0, 1, joints.shape)) + 0.66 * rng.normal(0, 1, joints.shape)
    positions = joints + noise * sigma[..., None]
    score = np.where(visible, corruption.score, 0.62 * corruption.score) + rng.normal(0, 0.06, visible.shape)
    score = np.clip(score, 0.08, 0.99)
    swapped = _runs(num_frames, corruption.swap, 4, rng)
    positions[swapped] = positions[swapped][:, _FLIP]
    score[swapped] *= 0.8
    absent = rng.random(visible.shape) < np.where(visible, corruption.missing, corruption.hidden_missing)
    absent |= _runs(num_frames, corruption.lost_frames, 5, rng)[:, None]
    result = np.concatenate([positions, score[..., None]], axis=-1)
    result[absent] = 0.0
    return result


def _smooth(noise: np.ndarray) -> np.ndarray:
    """Applies a first-order filter over time that keeps unit variance."""
    keep = 0.8
    for t in range(1, len(noise)):
        noise[t] = keep * noise[t - 1] + np.sqrt(1 - keep**2) * noise[t]
    return noise


def _runs(num_frames: int, chance: float, longest: int, rng: np.random.Generator) -> np.ndarray:
    """(T,) bool: runs of 1 to ``longest`` frames, one starting at each frame with probability ``chance``."""
    starts = rng.random(num_frames) < chance
    lengths = rng.integers(1, longest + 1, num_frames)
    inside = np.zeros(num_frames, bool)
    for t in np.flatnonzero(starts):
        inside[t : t + lengths[t]] = True
    return inside
