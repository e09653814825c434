"""What a 2D pose estimator makes of a clip: true joints in, jitter, gaps, low scores and swaps out.

The kinds of fault are those that users of AlphaPose and OpenPose report (joint jitter, missing limbs, dropped frames,
left and right swapped, bystanders); how often they occur is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musclemap_jax.skeleton_layouts import get_layout

_FLIP = list(get_layout("coco17").flip)
_NUM_JOINTS = 17
# Hips and shoulders are found less exactly than hands or the face are (COCO's per-joint spread), relative to the mean.
_SPREAD = np.array([0.5, 0.5, 0.5, 0.6, 0.6, 1.1, 1.1, 1.0, 1.0, 0.9, 0.9, 1.5, 1.5, 1.2, 1.2, 1.2, 1.2])


@dataclass(frozen=True)
class Faults:
    """How bad the pose estimator is on one clip.

    Attributes:
      jitter: standard deviation of a seen joint, share of the person's height in the picture.
      hidden_jitter: the same for a hidden joint.
      missing: chance that a seen joint is absent in a frame.
      hidden_missing: chance that a hidden joint is.
      lost_frames: chance that a spell of frames without the person starts in a frame.
      swap: chance that a spell with left and right swapped starts in a frame.
      score: mean score of a seen joint.
    """

    jitter: float
    hidden_jitter: float
    missing: float
    hidden_missing: float
    lost_frames: float
    swap: float
    score: float


def sample_faults(rng: np.random.Generator) -> Faults:
    """Faults of one clip; about one clip in seven is bad all over."""
    bad = rng.random() < 0.15
    factor = float(rng.uniform(1.6, 2.6)) if bad else 1.0
    return Faults(
        jitter=float(rng.uniform(0.004, 0.009)) * factor,
        hidden_jitter=float(rng.uniform(0.012, 0.025)) * factor,
        missing=float(rng.uniform(0.0, 0.012)) * factor,
        hidden_missing=float(rng.uniform(0.03, 0.15)) * factor,
        lost_frames=float(rng.choice((0.0, 0.01, 0.03), p=(0.55, 0.3, 0.15))) * factor,
        swap=float(rng.choice((0.0, 0.01), p=(0.7, 0.3))) * factor,
        score=float(rng.uniform(0.45, 0.65)) if bad else float(rng.uniform(0.75, 0.92)),
    )


def corrupt(joints: np.ndarray, seen: np.ndarray, faults: Faults, rng: np.random.Generator) -> np.ndarray:
    """One person's joints as a pose estimator would give them.

    Args:
      joints: (T, 17, 2) true places, pixels.
      seen: (T, 17) bool, False for joints that are hidden or outside the picture.
      faults: how bad it is.
      rng: source of randomness.

    Returns:
      (T, 17, 3) x, y, score; an absent joint is all zero.
    """
    num_frames = len(joints)
    spans = joints.max(axis=1) - joints.min(axis=1)
    size = float(np.median(spans.max(axis=-1)))
    sigma = np.where(seen, faults.jitter, faults.hidden_jitter) * size * _SPREAD
    # Part of the error lasts over frames, part is new in each.
    slow = _smooth(rng.normal(0, 1, (num_frames, _NUM_JOINTS, 2)))
    noise = 0.75 * slow + 0.66 * rng.normal(0, 1, (num_frames, _NUM_JOINTS, 2))
    places = joints + noise * sigma[..., None]
    score = np.where(seen, faults.score, 0.62 * faults.score) + rng.normal(0, 0.06, (num_frames, _NUM_JOINTS))
    score = np.clip(score, 0.08, 0.99)
    swapped = _spells(num_frames, faults.swap, 4, rng)
    places[swapped] = places[swapped][:, _FLIP]
    score[swapped] *= 0.8
    absent = rng.random((num_frames, _NUM_JOINTS)) < np.where(seen, faults.missing, faults.hidden_missing)
    absent |= _spells(num_frames, faults.lost_frames, 5, rng)[:, None]
    result = np.concatenate([places, score[..., None]], axis=-1)
    result[absent] = 0.0
    return result


def _smooth(noise: np.ndarray) -> np.ndarray:
    """First-order filter over time, of unit variance in the long run."""
    keep = 0.8
    for t in range(1, len(noise)):
        noise[t] = keep * noise[t - 1] + np.sqrt(1 - keep**2) * noise[t]
    return noise


def _spells(num_frames: int, chance: float, longest: int, rng: np.random.Generator) -> np.ndarray:
    """(T,) bool; spells of 1 to ``longest`` frames, each starting with ``chance`` a frame."""
    starts = rng.random(num_frames) < chance
    lengths = rng.integers(1, longest + 1, num_frames)
    inside = np.zeros(num_frames, bool)
    for t in np.flatnonzero(starts):
        inside[t : t + lengths[t]] = True
    return inside
