"""Which side moved more: how far the left and the right arm and leg moved in a window, by its skeletons.

The model names muscle regions without a side. A limb whose other side hardly moved is all that a pose tells, and it is
a measure of movement, not of muscles: an arm that holds a weight still has not moved.

A limb's motion is that of its outer joints (elbow and wrist, knee and ankle) relative to its root (shoulder, hip), as
the range between the 10th and the 90th percentile of their places, in trunk lengths: camera and size do not matter, and
a joint that is found somewhere else for a few frames does not either. One side leads if it moved at least `RATIO` times
as far as the other, and `FLOOR` trunk lengths. Both were chosen on rendered clips, where the range of limbs at rest,
with the errors of a pose estimator, is 0.1 to 0.2, and that of limbs in exercises 0.4 to 2. Where the estimator takes
left for right in a part of the window, nothing is known of either.

Letters of shapes: L frames of a window, P persons, V joints, W windows, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LIMBS = ("arms", "legs")
SIDES = ("left", "right")

RATIO = 2.0
FLOOR = 0.4
FAINT = 0.3
"""Strength at which the side that did not lead is shaded."""

MIN_SCORE = 0.3
"""Joints with a lower score are taken for absent: estimators guess hidden ones."""

MIN_FRAMES = 0.4
"""Fraction of the window's frames in which a joint and its root have to be present, on both sides."""

_CHAINS = {"arms": ("shoulder", ("elbow", "wrist")), "legs": ("hip", ("knee", "ankle"))}
_REGIONS = {
    "arms": {"shoulder", "biceps", "triceps", "forearms", "wrists"},
    "legs": {"quadriceps", "hamstring", "calves", "feet ankles", "gluteus", "inner thigh", "outer thigh"},
}
_PERCENTILES = (10, 90)
_TRUNK_PERCENTILE = 90
"""Of its length over the frames: a trunk that leans towards the camera looks shorter."""

_SMOOTHING_S = 0.3
"""Length of the median filter over the places of a joint."""

_TURN_S, _TURN_SMOOTHING_S = 0.2, 0.5
_TURN = 0.2
"""Nobody turns round within `_TURN_S`: where the line from the right to the left shoulder and hip, at least so many
trunk lengths long, is turned round, after a median filter of `_TURN_SMOOTHING_S`, left and right were exchanged."""


def limb_motion(skeleton: np.ndarray, joint_names: Sequence[str], fps: float) -> np.ndarray:
    """How far each limb moved relative to the trunk.

    Args:
      skeleton: (L, P, V, 3) x, y in any unit and score; absent joints score 0.
      joint_names: Names of the V joints; left and right are the person's own.
      fps: Frames per second.

    Returns:
      (2, 2) float32 of `LIMBS` and `SIDES` in trunk lengths, of the person who moved it most; NaN if that limb was not
      seen on both sides of anybody.
    """
    motion = np.full((2, 2), np.nan, np.float32)
    for person in np.moveaxis(skeleton, 1, 0):
        motion = np.fmax(motion, _motion_of_person(person, joint_names, fps))
    return motion


def leading(motion: np.ndarray) -> np.ndarray:
    """(..., 2, 2) bool of (..., 2, 2) motion: the side that moved clearly more, and no side where there is none."""
    known = np.nan_to_num(motion)
    other = known[..., ::-1]
    return (known >= FLOOR) & (known >= RATIO * other)


def side_strengths(regions: Sequence[str], motion: np.ndarray) -> np.ndarray:
    """(W, K, 2) strengths of left and right for (W, 2, 2) motion: 1, and `FAINT` where the other side led."""
    strengths = np.ones((len(motion), len(regions), len(SIDES)))
    faint = leading(motion)[..., ::-1]
    for limb, name in enumerate(LIMBS):
        for k, region in enumerate(regions):
            if region in _REGIONS[name]:
                strengths[:, k] = np.where(faint[:, limb], FAINT, 1.0)
    return strengths


def leading_side(motion: np.ndarray) -> dict[str, str | None]:
    """{limb: "left", "right", or None if none moved clearly more or it was not seen} of (2, 2) motion."""
    return {
        limb: next((side for side, leads in zip(SIDES, row, strict=True) if leads), None)
        for limb, row in zip(LIMBS, leading(motion), strict=True)
    }


def side_sentences(motion: np.ndarray) -> list[str]:
    """A sentence for each side of a limb that led in some of the (W, 2, 2) windows."""
    total = len(motion)
    return [
        f"The {side} {limb.removesuffix('s')} moved clearly more than the {other} one"
        + ("." if count == total else f" in {count:,} of {total:,} windows.")
        for limb, counts in zip(LIMBS, leading(motion).sum(axis=0).tolist(), strict=True)
        for side, other, count in zip(SIDES, SIDES[::-1], counts, strict=True)
        if count
    ]


def _motion_of_person(joints: np.ndarray, joint_names: Sequence[str], fps: float) -> np.ndarray:
    """(2, 2) motion of (L, V, 3) joints; NaN where it is not known."""
    index = {name: v for v, name in enumerate(joint_names)}
    places, present = joints[..., :2], joints[..., 2] >= MIN_SCORE
    trunk = _trunk_length(places, present, index)
    motion = np.full((2, 2), np.nan, np.float32)
    if np.isnan(trunk) or _sides_are_exchanged(places / trunk, present, index, fps):
        return motion
    for limb, name in enumerate(LIMBS):
        root, outer = _CHAINS[name]
        ranges = np.full((len(outer), len(SIDES)), np.nan)
        for row, joint in enumerate(outer):
            for column, side in enumerate(SIDES):
                v, origin = index[f"{side}_{joint}"], index[f"{side}_{root}"]
                seen = present[:, v] & present[:, origin]
                if seen.sum() >= max(1, MIN_FRAMES * len(joints)):
                    path = _smoothed((places[seen, v] - places[seen, origin]) / trunk, _SMOOTHING_S * fps)
                    low, high = np.percentile(path, _PERCENTILES, axis=0)
                    ranges[row, column] = np.hypot(*(high - low))
        known = ranges[~np.isnan(ranges).any(axis=1)]  # a joint counts only where both sides are seen
        if len(known):
            motion[limb] = known.max(axis=0)
    return motion


def _trunk_length(places: np.ndarray, present: np.ndarray, index: dict[str, int]) -> float:
    """From the middle of the shoulders to that of the hips; NaN if they are not seen."""
    corners = _corners(places, present, index)
    if not len(corners):
        return np.nan
    shoulders, hips = np.moveaxis(corners.mean(axis=2), 1, 0)
    length = np.percentile(np.hypot(*(shoulders - hips).T), _TRUNK_PERCENTILE)
    return float(length) if length > 0 else np.nan


def _sides_are_exchanged(places: np.ndarray, present: np.ndarray, index: dict[str, int], fps: float) -> bool:
    """Whether the trunk turns round faster than anybody can; places are in trunk lengths."""
    corners = _corners(places, present, index)
    across = _smoothed((corners[:, :, 0] - corners[:, :, 1]).mean(axis=1), _TURN_SMOOTHING_S * fps)
    step = max(1, round(_TURN_S * fps))
    return bool(((across[step:] * across[:-step]).sum(axis=1) < -(_TURN**2)).any())


def _corners(places: np.ndarray, present: np.ndarray, index: dict[str, int]) -> np.ndarray:
    """(F, 2, 2, 2) places of shoulders and hips, left and right, in the F frames where all are seen."""
    joints = [[index[f"{side}_{root}"] for side in SIDES] for root, _ in _CHAINS.values()]
    return places[present[:, np.ravel(joints)].all(axis=1)][:, joints]


def _smoothed(path: np.ndarray, num_frames: float) -> np.ndarray:
    """(F, 2) places after a median filter over about `num_frames` frames."""
    half = round(num_frames / 2)
    padded = np.pad(path, ((half, half), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0), axis=-1)
