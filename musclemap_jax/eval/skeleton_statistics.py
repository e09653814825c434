"""Statistics of a clip's poses, which linear models take: of joints and distances, and of biomechanical channels.

A statistic is a mean or a standard deviation over the poses where it is defined, and NaN if that is nowhere. Muscle
regions have no side, so each statistic is taken of the clip and of its mirror image, and both are replaced by their
mean and their absolute difference.

Letters of shapes: n clips, T poses, V joints, E values of a pose, F statistics.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from musclemap_jax.biomechanics.body import JOINT_ANGLES
from musclemap_jax.biomechanics.channels import CHANNELS, OF_BODY, OF_JOINT, biomechanical_channels, trunk_lengths
from musclemap_jax.skeleton_layouts import get_layout

LAYOUT = "coco17"
"""The joints that every layout has."""

_JOINTS = get_layout(LAYOUT).joints
_FLIP = np.array(get_layout(LAYOUT).flip)
_PAIRS = np.array(list(itertools.combinations(range(len(_JOINTS)), 2))).T
_ANGLES = [_JOINTS.index(at.joint) for at in JOINT_ANGLES]
_HIPS = [_JOINTS.index(f"{side}_hip") for side in ("left", "right")]


def joint_statistics(poses: Float[np.ndarray, "n T V 3"]) -> Float[np.ndarray, "n F"]:
    """Mean and standard deviation of x and y of each joint and of the distance of each pair of joints: 2 x 340.

    Places are relative to the middle of the hips over the clip, in trunk lengths.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
    """
    return _two_sided(_joint_values, poses)


def biomechanical_statistics(
    poses: Float[np.ndarray, "n T V 3"], poses_per_s: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n F"]:
    """Mean and standard deviation of the biomechanical channels of joint angles, joints and body: 2 x 422.

    Beside the channels there are the angles' speeds without a sign, and moments times speeds by the signs of both:
    muscles that open a joint against a load are told from those that brake it. Statistics are replaced by their square
    roots, with their signs, since powers have long tails.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
      poses_per_s: Poses per second.
    """
    statistics = _two_sided(lambda poses: _biomechanical_values(poses, poses_per_s), poses)
    return np.sign(statistics) * np.sqrt(np.abs(statistics))


def _joint_values(poses: Float[np.ndarray, "n T V 3"]) -> Float[np.ndarray, "n T E"]:
    present = poses[..., 2] > 0
    places = np.where(present[..., None], trunk_lengths(poses[..., :2], present, _JOINTS), np.nan)
    distances = np.linalg.norm(places[:, :, _PAIRS[0]] - places[:, :, _PAIRS[1]], axis=-1)
    centred = places - np.nanmean(places[:, :, _HIPS], axis=(1, 2))[:, None, None]
    return np.concatenate([_flat(centred), distances], axis=-1)


def _biomechanical_values(
    poses: Float[np.ndarray, "n T V 3"], poses_per_s: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n T E"]:
    values, valid = biomechanical_channels(poses[..., :2], poses[..., 2] > 0, _JOINTS, poses_per_s)
    channels = np.where(valid, values, np.nan)
    of_joint = channels[:, :, _ANGLES, : len(OF_JOINT)]
    speed = of_joint[..., OF_JOINT.index("angle_speed")]
    moments = [of_joint[..., OF_JOINT.index(f"{load}_moment")] for load in ("body", "end")]
    powers = [
        np.maximum(sign * moment, 0) * np.maximum(way * speed, 0)
        for moment, sign, way in itertools.product(moments, (1, -1), (1, -1))
    ]
    heights = channels[..., CHANNELS.index("height")]
    body = np.nanmean(channels[..., -len(OF_BODY) :], axis=2)
    return np.concatenate([_flat(of_joint), np.abs(speed), *powers, heights, body], axis=-1)


def _two_sided(
    values_of: Callable[[np.ndarray], np.ndarray], poses: Float[np.ndarray, "n T V 3"]
) -> Float[np.ndarray, "n F"]:
    """Statistics of a clip's values and of those of its mirror image: their mean, and their absolute difference."""
    mirrored = poses[:, :, _FLIP] * np.array([-1, 1, 1], poses.dtype)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # undefined in every pose
        sides = [_mean_and_deviation(values_of(each)) for each in (poses, mirrored)]
        # A side that is not seen leaves the other as the mean.
        return np.concatenate([np.nanmean(sides, axis=0), np.abs(sides[0] - sides[1])], axis=-1)


def _mean_and_deviation(values: Float[np.ndarray, "n T E"]) -> Float[np.ndarray, "n F"]:
    return np.concatenate([np.nanmean(values, axis=1), np.nanstd(values, axis=1)], axis=-1)


def _flat(values: Float[np.ndarray, "n T V C"]) -> Float[np.ndarray, "n T E"]:
    return values.reshape(*values.shape[:2], -1)
