"""Statistics of a clip's poses, which linear models take: of joints and distances, and of biomechanical channels.

A statistic is a mean or a standard deviation over the poses where it is defined, and NaN if that is nowhere. Muscle
regions have no side, so statistics of the left and the right side are replaced by their mean and their absolute
difference, which a mirror leaves as they are.

Letters of shapes: n clips, T poses, V joints, A joint angles, C channels, E values of a pose, F statistics.
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
_FLIP = np.array(get_layout(LAYOUT).flip)
_SIDE = np.array([joint for joint, other in enumerate(_FLIP) if joint <= other])
"""Joints of the left side and of the middle; `_FLIP[_SIDE]` are those that a mirror puts in their places."""

_PAIRS = np.array(
    [
        pair
        for pair in itertools.combinations(range(len(_JOINTS)), 2)
        if pair <= tuple(sorted((int(_FLIP[pair[0]]), int(_FLIP[pair[1]]))))
    ]
).T
"""The first of each two pairs of joints that are each other's mirror images."""

_ANGLES = np.array([_JOINTS.index(at.joint) for at in JOINT_ANGLES if at.joint.startswith("left")])
_HIPS = [_JOINTS.index(f"{side}_hip") for side in ("left", "right")]

Values = Float[np.ndarray, "n T E"]


def joint_statistics(poses: Float[np.ndarray, "n T V 3"]) -> Float[np.ndarray, "n F"]:
    """Statistics of x and y of each joint and of the distance of each pair of joints: 340 of both sides.

    Places are relative to the middle of the hips over the clip, in trunk lengths.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
    """
    present = poses[..., 2] > 0
    places = np.where(present[..., None], trunk_lengths(poses[..., :2], present, _JOINTS), np.nan)
    centred = places - _mean(places[:, :, _HIPS], axis=(1, 2))[:, None, None]
    mirror = np.array([-1, 1], poses.dtype)

    def values(joints: np.ndarray, pairs: np.ndarray, sign: np.ndarray) -> Values:
        distances = np.linalg.norm(places[:, :, pairs[0]] - places[:, :, pairs[1]], axis=-1)
        return np.concatenate([_flat(centred[:, :, joints] * sign), distances], axis=-1)

    return _two_sided(values(_SIDE, _PAIRS, np.abs(mirror)), values(_FLIP[_SIDE], _FLIP[_PAIRS], mirror))


def biomechanical_statistics(
    poses: Float[np.ndarray, "n T V 3"], poses_per_s: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n F"]:
    """Statistics of the biomechanical channels of joint angles, joints and body.

    Beside the channels there are the angles' speeds without a sign, and moments times speeds by the signs of both:
    muscles that open a joint against a load are told from those that brake it. Statistics are replaced by their square
    roots, with their signs, since powers have long tails.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
      poses_per_s: Poses per second.
    """
    values, valid = biomechanical_channels(poses[..., :2], poses[..., 2] > 0, _JOINTS, poses_per_s)
    channels = np.where(valid, values, np.nan)
    body = _mean(channels[..., -len(OF_BODY) :], axis=(2,))
    heights = channels[..., CHANNELS.index("height")]
    left, right = (
        np.concatenate([_of_angles(channels[:, :, angles, : len(OF_JOINT)]), heights[:, :, joints], body], axis=-1)
        for angles, joints in ((_ANGLES, _SIDE), (_FLIP[_ANGLES], _FLIP[_SIDE]))
    )
    statistics = _two_sided(left, right)
    return np.sign(statistics) * np.sqrt(np.abs(statistics))


def _of_angles(channels: Float[np.ndarray, "n T A C"]) -> Values:
    """The channels `OF_JOINT`, speeds without a sign, and powers by the signs of moment and speed."""
    speed = channels[..., OF_JOINT.index("angle_speed")]
    moments = [channels[..., OF_JOINT.index(f"{load}_moment")] for load in ("body", "end")]
    powers = [
        np.maximum(sign * moment, 0) * np.maximum(way * speed, 0)
        for moment, sign, way in itertools.product(moments, (1, -1), (1, -1))
    ]
    return np.concatenate([_flat(channels), np.abs(speed), *powers], axis=-1)


def _two_sided(left: Values, right: Values) -> Float[np.ndarray, "n F"]:
    """Mean and standard deviation of each value: the mean of both sides, and their absolute difference.

    A side that is not seen leaves the other as the mean.
    """
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # undefined in every pose
        sides = [np.concatenate([np.nanmean(side, axis=1), np.nanstd(side, axis=1)], axis=-1) for side in (left, right)]
        return np.concatenate([np.nanmean(sides, axis=0), np.abs(sides[0] - sides[1])], axis=-1)


def _mean(values: Float[np.ndarray, "*all"], axis: tuple[int, ...]) -> Float[np.ndarray, "*rest"]:
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of nothing
        return np.nanmean(values, axis=axis)


def _flat(values: Float[np.ndarray, "n T V C"]) -> Values:
    return values.reshape(*values.shape[:2], -1)
