"""Biomechanical channels of every joint and pose, from 2D joints with gravity down the image.

Ours, beyond the paper. A muscle works if its joint opens or closes against a load, which a lever and a speed say and a
place alone does not. Lengths are in trunk lengths, angles in radians, speeds per second. Everything is computed in the
namespace of the arrays, NumPy's or JAX's, where it is differentiable; an absent joint has channels of 0, no gradient.

A lever is the horizontal distance from a joint to a load: that of the body's centre of mass (`body`), or that of the
limb's free end (`end`), which a hand's weight or the ground pulls at. A moment is a lever with a sign: positive if the
load closes the joint, so that the muscles which open it must hold it. Both are the same in a mirror.

Shapes: T poses, V joints, A joint angles, S segments, E places, C channels; ``*n`` are any leading axes, such as clips
and persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from musclemap_jax.biomechanics.body import JOINT_ANGLES, NECK, PELVIS, SEGMENTS, middles
from musclemap_jax.biomechanics.geometry import angle_between, masked_mean, speed

OF_JOINT = (
    "angle",  # 0 (folded) to pi (straight)
    "angle_speed",  # positive while the joint opens
    "body_lever",
    "end_lever",
    "body_moment",
    "end_moment",
    "body_opening",  # lever times speed while the joint opens, at least 0
    "body_closing",
    "end_opening",
    "end_closing",
)
"""Channels of the joints that have an angle (`body.JOINT_ANGLES`)."""

OF_PLACE = ("height",)
"""Channels of every joint: its height above the lowest one of the pose, which is where the ground carries the body."""

OF_BODY = (
    "trunk_inclination",  # 0 upright, pi upside down
    "mass_height",  # of the centre of mass above the lowest joint
    "mass_speed_across",  # horizontal speed of the centre of mass, at least 0
    "mass_speed_up",  # vertical, positive upwards
)
"""Channels of the whole body, the same at every joint that is present."""

CHANNELS = OF_JOINT + OF_PLACE + OF_BODY
"""Names of the C channels, in order."""

_MIN_MASS = 0.5
"""Fraction of the body's mass whose segments must be present for a centre of mass."""

_MIN_TRUNK = 0.5
"""A trunk that is seen from its end is short. The unit of length is at least this many root mean squares of the joints'
distances from their centre, of which an upright trunk seen from the side has about 0.9."""

_NO_LENGTH = 1e-6
"""Square of a distance, in trunk lengths, below which two joints have no direction."""


class Channels(NamedTuple):
    """Channels and where they are defined.

    Attributes:
      values: (*n, T, V, C) Values, 0 where they are undefined.
      valid: (*n, T, V, C) Where they are defined.
    """

    values: Float[Any, "*n T V C"]
    valid: Bool[Any, "*n T V C"]


def biomechanical_channels(
    joints: Float[Any, "*n T V 2"], present: Bool[Any, "*n T V"], joint_names: Sequence[str], poses_per_s: Any = 1.0
) -> Channels:
    """Computes all channels.

    Args:
      joints: x to the right and y down, in any unit of square pixels.
      present: Which joints are present; the others may hold anything, NaN too.
      joint_names: Names of the V joints, such as a skeleton layout's.
      poses_per_s: Poses per second, a number or of shape (*n); with 1, speeds are per pose.
    """
    xp = joints.__array_namespace__()
    joints = trunk_lengths(joints, present, joint_names)
    rate = xp.broadcast_to(xp.asarray(poses_per_s, dtype=joints.dtype), joints.shape[:-3])[..., None, None]
    mass, has_mass = centre_of_mass(joints, present, joint_names)
    lowest = xp.max(xp.where(present, joints[..., 1], -xp.inf), axis=-1, keepdims=True)
    lowest = xp.where(xp.isfinite(lowest), lowest, 0.0)
    of_joint, has_joint = _of_joint(joints, present, joint_names, mass, has_mass, rate)
    of_body, has_body = _of_body(joints, present, joint_names, mass, has_mass, lowest, rate)
    shape = (*present.shape, len(OF_BODY))
    heights = lowest - joints[..., 1]
    values = xp.concat([of_joint, heights[..., None], xp.broadcast_to(of_body[..., None, :], shape)], axis=-1)
    everywhere = xp.broadcast_to(has_body[..., None, :], shape) & present[..., None]
    valid = xp.concat([has_joint, present[..., None], everywhere], axis=-1)
    return Channels(xp.where(valid, values, 0.0), valid)


def trunk_lengths(
    joints: Float[Any, "*n T V 2"], present: Bool[Any, "*n T V"], joint_names: Sequence[str]
) -> Float[Any, "*n T V 2"]:
    """Joints with the mean length of the person's trunk as the unit of length; 0 where they are absent."""
    xp = joints.__array_namespace__()
    joints = xp.where(present[..., None], joints, 0.0)
    return joints / _unit_length(joints, present, joint_names)[..., None, None, None]


def centre_of_mass(
    joints: Float[Any, "*n T V 2"], present: Bool[Any, "*n T V"], joint_names: Sequence[str]
) -> tuple[Float[Any, "*n T 2"], Bool[Any, "*n T"]]:
    """The centre of mass of the segments that are present, and whether they have at least half of the body's mass."""
    xp = joints.__array_namespace__()
    near, has_near = _places([segment.proximal for segment in SEGMENTS], joints, present, joint_names)
    far, has_far = _places([segment.distal for segment in SEGMENTS], joints, present, joint_names)
    centre = np.array([segment.centre for segment in SEGMENTS], np.float32)
    mass = np.array([segment.mass for segment in SEGMENTS], np.float32)
    # A segment whose centre is at its distal end needs that end alone.
    needs_near = xp.broadcast_to(xp.asarray(centre < 1), has_near.shape)
    masses = xp.where(has_far & (has_near | ~needs_near), xp.broadcast_to(xp.asarray(mass), has_near.shape), 0.0)
    total = xp.sum(masses, axis=-1)
    weighted = _einsum("...s,...sc,s->...c", masses, near, xp.asarray(1 - centre))
    weighted = weighted + _einsum("...s,...sc,s->...c", masses, far, xp.asarray(centre))
    return weighted / xp.where(total > 0, total, 1.0)[..., None], total >= _MIN_MASS


def _places(
    groups: Sequence[tuple[str, ...]], joints: Any, present: Any, joint_names: Sequence[str]
) -> tuple[Float[Any, "*n T E 2"], Bool[Any, "*n T E"]]:
    """The middles of groups of joints, of those that are present, and whether any is."""
    xp = joints.__array_namespace__()
    chosen = xp.asarray(middles(groups, joint_names), dtype=joints.dtype)
    count = _einsum("ev,...v->...e", chosen, xp.astype(present, joints.dtype))
    total = _einsum("ev,...vc->...ec", chosen, xp.where(present[..., None], joints, 0.0))
    return total / xp.where(count > 0, count, 1.0)[..., None], count > 0


def _einsum(subscripts: str, *operands: Any) -> Any:
    """In full float32: on TPU, products otherwise round to bfloat16, which differences in time amplify."""
    xp = operands[0].__array_namespace__()
    precision = {} if xp is np else {"precision": "highest"}
    return xp.einsum(subscripts, *operands, **precision)


def _trunk(joints: Any, present: Any, joint_names: Sequence[str]) -> tuple[Float[Any, "*n T 2"], Bool[Any, "*n T"]]:
    """From the pelvis to the neck, and whether there is such a direction."""
    xp = joints.__array_namespace__()
    ends, has_ends = _places([PELVIS, NECK], joints, present, joint_names)
    trunk = ends[..., 1, :] - ends[..., 0, :]
    return trunk, xp.all(has_ends, axis=-1) & (xp.sum(trunk**2, axis=-1) > 0)


def _unit_length(joints: Any, present: Any, joint_names: Sequence[str]) -> Float[Any, "*n"]:
    """The unit of length of each person: the mean length of the trunk; 1 for nobody."""
    xp = joints.__array_namespace__()
    trunk, has_trunk = _trunk(joints, present, joint_names)
    squares = xp.where(has_trunk, xp.sum(trunk**2, axis=-1), 1.0)
    length = masked_mean(xp.sqrt(squares), has_trunk, axis=(-1,))
    centre = masked_mean(joints, present[..., None], axis=(-3, -2))[..., None, None, :]
    variance = masked_mean(xp.sum((joints - centre) ** 2, axis=-1), present, axis=(-2, -1))
    has_size = variance > 0
    shortest = _MIN_TRUNK * xp.sqrt(xp.where(has_size, variance, 1.0))
    return xp.where(has_size & (length > shortest), length, shortest)


def _of_joint(
    joints: Any, present: Any, joint_names: Sequence[str], mass: Any, has_mass: Any, rate: Any
) -> tuple[Float[Any, "*n T V C"], Bool[Any, "*n T V C"]]:
    """The channels `OF_JOINT`."""
    xp = joints.__array_namespace__()
    names = [(at.joint, at.proximal, at.distal or at.joint, at.end) for at in JOINT_ANGLES]
    joint, proximal, distal, end = np.array([[joint_names.index(name) for name in each] for each in names]).T
    at = joints[..., joint, :]
    upwards = np.array([[0.0, 0.0 if each.distal else -1.0] for each in JOINT_ANGLES], np.float32)
    first = joints[..., proximal, :] - at
    second = joints[..., distal, :] - at + xp.broadcast_to(xp.asarray(upwards), at.shape)
    has_angle = present[..., joint] & present[..., proximal] & present[..., distal]
    has_angle &= (xp.sum(first**2, axis=-1) > _NO_LENGTH) & (xp.sum(second**2, axis=-1) > _NO_LENGTH)
    angle, side = angle_between(_or_up(first, has_angle), _or_up(second, has_angle))
    turning, has_speed = speed(angle, has_angle, rate)
    opening, closing = xp.where(turning > 0, turning, 0.0), xp.where(turning < 0, -turning, 0.0)
    to_body, to_end = mass[..., None, 0] - at[..., 0], joints[..., end, 0] - at[..., 0]
    has_body, has_end = has_angle & has_mass[..., None], has_angle & present[..., end]
    # Weight on the right turns the part that it belongs to clockwise: the proximal one towards the distal one, or away.
    values = [angle, turning, xp.abs(to_body), xp.abs(to_end), to_body * side, -to_end * side]
    values += [xp.abs(offset) * part for offset in (to_body, to_end) for part in (opening, closing)]
    valid = [has_angle, has_speed, has_body, has_end, has_body, has_end]
    valid += [has & has_speed for has in (has_body, has_body, has_end, has_end)]
    places = np.full(len(joint_names), len(joint))
    places[joint] = np.arange(len(joint))
    return _spread(xp.stack(values, axis=-1), places), _spread(xp.stack(valid, axis=-1), places)


def _of_body(
    joints: Any, present: Any, joint_names: Sequence[str], mass: Any, has_mass: Any, lowest: Any, rate: Any
) -> tuple[Float[Any, "*n T C"], Bool[Any, "*n T C"]]:
    """The channels `OF_BODY`."""
    xp = joints.__array_namespace__()
    trunk, has_trunk = _trunk(joints, present, joint_names)
    trunk = _or_up(trunk, has_trunk)
    inclination, _ = angle_between(trunk, _or_up(trunk, xp.zeros_like(has_trunk)))
    moving, has_speed = speed(mass, xp.broadcast_to(has_mass[..., None], mass.shape), rate)
    values = [inclination, lowest[..., 0] - mass[..., 1], xp.abs(moving[..., 0]), -moving[..., 1]]
    return xp.stack(values, axis=-1), xp.stack([has_trunk, has_mass, has_speed[..., 0], has_speed[..., 1]], axis=-1)


def _or_up(directions: Float[Any, "*n 2"], valid: Bool[Any, "*n"]) -> Float[Any, "*n 2"]:
    """The valid directions, and upwards for the others."""
    xp = directions.__array_namespace__()
    up = xp.asarray(np.array([0.0, -1.0], np.float32), dtype=directions.dtype)
    return xp.where(valid[..., None], directions, xp.broadcast_to(up, directions.shape))


def _spread(values: Any, places: np.ndarray) -> Any:
    """From the A joint angles to the V joints, of which `places` says the angle; A means that there is none."""
    xp = values.__array_namespace__()
    return xp.concat([values, xp.zeros_like(values[..., :1, :])], axis=-2)[..., places, :]
