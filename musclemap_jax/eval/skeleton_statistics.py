"""Statistics of a clip's poses, which linear models take: of joints and distances, and of biomechanical channels.

A statistic is a mean or a standard deviation over the poses where it is defined, and NaN if that is nowhere.

Letters of shapes: n clips, T poses, V joints, F statistics.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
from jaxtyping import Float

from musclemap_jax.biomechanics.body import JOINT_ANGLES
from musclemap_jax.biomechanics.channels import CHANNELS, OF_BODY, OF_JOINT, biomechanical_channels, trunk_lengths
from musclemap_jax.skeleton_layouts import get_layout

LAYOUT = "coco17"
"""The joints that every layout has."""

_JOINTS = get_layout(LAYOUT).joints
_PAIRS = np.array(list(itertools.combinations(range(len(_JOINTS)), 2))).T


def joint_statistics(poses: Float[np.ndarray, "n T V 3"]) -> Float[np.ndarray, "n F"]:
    """Mean and standard deviation of x and y of each joint and of the distance of each pair of joints: 340 in all.

    Places are relative to the middle of the hips over the clip, in trunk lengths.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
    """
    present = poses[..., 2] > 0
    places = np.where(present[..., None], trunk_lengths(poses[..., :2], present, _JOINTS), np.nan)
    hips = [_JOINTS.index(f"{side}_hip") for side in ("left", "right")]
    places = places - _mean(places[:, :, hips], axis=(1, 2))[:, None, None]
    distances = np.linalg.norm(places[:, :, _PAIRS[0]] - places[:, :, _PAIRS[1]], axis=-1)
    both = np.concatenate([places.reshape(*places.shape[:2], -1), distances], axis=-1)
    return _mean_and_deviation(both)


def biomechanical_statistics(
    poses: Float[np.ndarray, "n T V 3"], poses_per_s: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n F"]:
    """Mean and standard deviation of the channels of each joint angle, each joint's height, and the whole body.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
      poses_per_s: Poses per second.
    """
    present = poses[..., 2] > 0
    values, valid = biomechanical_channels(poses[..., :2], present, _JOINTS, poses_per_s)
    channels = np.where(valid, values, np.nan)
    angles = [_JOINTS.index(at.joint) for at in JOINT_ANGLES]
    of_joint = channels[:, :, angles, : len(OF_JOINT)]
    speed = np.abs(of_joint[..., OF_JOINT.index("angle_speed")])
    heights = channels[..., CHANNELS.index("height")]
    body = _mean(channels[..., -len(OF_BODY) :], axis=(2,))
    every = [of_joint.reshape(*of_joint.shape[:2], -1), speed, heights, body]
    return _mean_and_deviation(np.concatenate(every, axis=-1))


def _mean_and_deviation(values: Float[np.ndarray, "n T E"]) -> Float[np.ndarray, "n F"]:
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # undefined in every pose
        return np.concatenate([np.nanmean(values, axis=1), np.nanstd(values, axis=1)], axis=-1)


def _mean(values: Float[np.ndarray, "*all"], axis: tuple[int, ...]) -> Float[np.ndarray, "*rest"]:
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return np.nanmean(values, axis=axis)
