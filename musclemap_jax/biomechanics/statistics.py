"""Statistics of a clip's poses: of joints and distances, and of biomechanical channels.

A statistic is a mean or a standard deviation over the poses where it is defined. Muscle regions have no side, so
statistics of the left and the right side are replaced by their mean and their absolute difference, which a mirror
leaves as they are. Everything is computed in the namespace of the arrays, NumPy's or JAX's, where it is differentiable.

Letters of shapes: T poses, V joints, A joint angles, C channels, E values of a pose, F statistics; ``*n`` are any
leading axes, such as clips and persons.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from musclemap_jax.biomechanics.body import JOINT_ANGLES
from musclemap_jax.biomechanics.channels import CHANNELS, OF_BODY, OF_JOINT, biomechanical_channels, trunk_lengths
from musclemap_jax.biomechanics.geometry import masked_mean
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


class Statistics(NamedTuple):
    """Statistics and where they are defined.

    Attributes:
      values: 0 where they are undefined.
      valid: Where they are defined.
    """

    values: Float[Any, "*n F"]
    valid: Bool[Any, "*n F"]


class _Values(NamedTuple):
    """Values of every pose, of any size where they are not valid."""

    values: Float[Any, "*n T E"]
    valid: Bool[Any, "*n T E"]


def joint_statistics(poses: Float[Any, "*n T V 3"]) -> Statistics:
    """Statistics of x and y of each joint and of the distance of each pair of joints: 340 of both sides.

    Places are relative to the middle of the hips over the clip, in trunk lengths.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
    """
    xp = poses.__array_namespace__()
    present = poses[..., 2] > 0
    places = trunk_lengths(poses[..., :2], present, _JOINTS)
    hips = present[..., _HIPS]
    centre = masked_mean(places[..., _HIPS, :], hips[..., None], axis=(-3, -2))
    centred = places - centre[..., None, None, :]
    has_place = present & xp.any(hips, axis=(-2, -1), keepdims=True)

    def side(joints: np.ndarray, pairs: np.ndarray, sign: np.ndarray) -> _Values:
        moved = centred[..., joints, :]
        way = xp.broadcast_to(xp.asarray(sign, dtype=places.dtype), moved.shape)
        squares = xp.sum((places[..., pairs[0], :] - places[..., pairs[1], :]) ** 2, axis=-1)
        of_places = xp.repeat(has_place[..., joints], 2, axis=-1)
        return _Values(
            xp.concat([_flat(moved * way), _root(squares)], axis=-1),
            xp.concat([of_places, present[..., pairs[0]] & present[..., pairs[1]]], axis=-1),
        )

    mirror = np.array([-1, 1])
    return _two_sided(side(_SIDE, _PAIRS, np.abs(mirror)), side(_FLIP[_SIDE], _FLIP[_PAIRS], mirror))


def biomechanical_statistics(poses: Float[Any, "*n T V 3"], poses_per_s: Any) -> Statistics:
    """Statistics of the biomechanical channels of joint angles, joints and body.

    Beside the channels there are the angles' speeds without a sign, and moments times speeds by the signs of both:
    muscles that open a joint against a load are told from those that brake it. Statistics are replaced by their square
    roots, with their signs, since powers have long tails.

    Args:
      poses: x, y, score of the joints of `LAYOUT`; a joint with score 0 is absent.
      poses_per_s: Poses per second, a number or of shape (*n).
    """
    xp = poses.__array_namespace__()
    channels, valid = biomechanical_channels(poses[..., :2], poses[..., 2] > 0, _JOINTS, poses_per_s)
    height = CHANNELS.index("height")
    # The same at every joint that is present.
    of_body, has_body = channels[..., -len(OF_BODY) :], valid[..., -len(OF_BODY) :]
    of_body, has_body = masked_mean(of_body, has_body, axis=(-2,)), xp.any(has_body, axis=-2)

    def side(angles: np.ndarray, joints: np.ndarray) -> _Values:
        of_angles = _of_angles(channels[..., angles, : len(OF_JOINT)], valid[..., angles, : len(OF_JOINT)])
        return _Values(
            xp.concat([of_angles.values, channels[..., joints, height], of_body], axis=-1),
            xp.concat([of_angles.valid, valid[..., joints, height], has_body], axis=-1),
        )

    statistics = _two_sided(side(_ANGLES, _SIDE), side(_FLIP[_ANGLES], _FLIP[_SIDE]))
    rooted = xp.sign(statistics.values) * _root(xp.abs(statistics.values))
    return Statistics(rooted, statistics.valid)


def _of_angles(channels: Float[Any, "*n T A C"], valid: Bool[Any, "*n T A C"]) -> _Values:
    """The channels `OF_JOINT`, speeds without a sign, and powers by the signs of moment and speed."""
    xp = channels.__array_namespace__()
    at = OF_JOINT.index("angle_speed")
    speed, has_speed = channels[..., at], valid[..., at]
    values, defined = [_flat(channels), xp.abs(speed)], [_flat(valid), has_speed]
    for load, sign, way in itertools.product(("body", "end"), (1, -1), (1, -1)):
        at = OF_JOINT.index(f"{load}_moment")
        values.append(_positive(sign * channels[..., at]) * _positive(way * speed))
        defined.append(has_speed & valid[..., at])
    return _Values(xp.concat(values, axis=-1), xp.concat(defined, axis=-1))


def _two_sided(left: _Values, right: _Values) -> Statistics:
    """Mean and standard deviation of each value: the mean of both sides, and their absolute difference.

    A side that is not seen leaves the other as the mean.
    """
    xp = left.values.__array_namespace__()
    sides = [_over_poses(side) for side in (left, right)]
    values, valid = (xp.stack(arrays) for arrays in zip(*sides, strict=True))
    both = xp.all(valid, axis=0)
    mean = masked_mean(values, valid, axis=(0,))
    difference = xp.where(both, xp.abs(values[0] - values[1]), 0.0)
    return Statistics(xp.concat([mean, difference], axis=-1), xp.concat([xp.any(valid, axis=0), both], axis=-1))


def _over_poses(side: _Values) -> Statistics:
    """Mean and standard deviation over the poses."""
    xp = side.values.__array_namespace__()
    mean = masked_mean(side.values, side.valid, axis=(-2,))
    variance = masked_mean((side.values - mean[..., None, :]) ** 2, side.valid, axis=(-2,))
    defined = xp.any(side.valid, axis=-2)
    return Statistics(xp.concat([mean, _root(variance)], axis=-1), xp.concat([defined, defined], axis=-1))


def _root(values: Float[Any, "*all"]) -> Float[Any, "*all"]:
    """The square root, without a gradient at 0."""
    xp = values.__array_namespace__()
    return xp.where(values > 0, xp.sqrt(xp.where(values > 0, values, 1.0)), 0.0)


def _positive(values: Float[Any, "*all"]) -> Float[Any, "*all"]:
    return values.__array_namespace__().where(values > 0, values, 0.0)


def _flat(values: Any) -> Any:
    return values.reshape(*values.shape[:-2], -1)
