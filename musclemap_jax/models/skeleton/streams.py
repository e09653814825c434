"""Input streams of a skeleton network: channels of each joint that are computed from the poses of the batch.

Source: ``joint``, ``bone``, ``motion``, ``bone_motion`` are the streams j, b, jm and bm of pyskl (kennymckormick/pyskl
at 3f6795f, pyskl/datasets/pipelines/pose_related.py: JointToBone, ToMotion). Differs from it: a bone starts at the
joint's parent in the model's graph, where pyskl's COCO pairs take the nose for the parent of shoulders and hips; a bone
or motion with one absent end is absent, where pyskl takes the difference to the zeros that stand for it; and motion is
between the poses that were sampled from the video, where pyskl's is between its frames. ``biomechanics`` is ours.

Letters of shapes: B clips, T poses, P persons, V joints, F channels of a stream.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from musclemap_jax.biomechanics.channels import CHANNELS, biomechanical_channels
from musclemap_jax.models.skeleton.graph import SkeletonGraph
from musclemap_jax.skeleton_layouts import LAYOUTS

NUM_COORDINATES = 3
"""x, y and score of a joint."""

JOINT = "joint"

Poses = Float[Array, "B T P V 3"]


class Channels(NamedTuple):
    """Channels of a stream.

    Attributes:
      values: Zero where they are not valid.
      valid: True where every joint that the value is computed from is present.
    """

    values: Float[Array, "B T P V F"]
    valid: Bool[Array, "B T P V F"]


@dataclasses.dataclass(frozen=True)
class Stream:
    """One input stream.

    Attributes:
      num_channels: F.
      compute: (poses, graph) -> channels. Absent joints of the poses have score 0; the other coordinates are not read.
        Differentiable with respect to the poses everywhere.
    """

    num_channels: int
    compute: Callable[[Poses, SkeletonGraph], Channels]


def joint(poses: Poses, graph: SkeletonGraph) -> Channels:
    """The poses as they are: x, y, score."""
    return Channels(poses, jnp.broadcast_to(present(poses), poses.shape))


def bone(poses: Poses, graph: SkeletonGraph) -> Channels:
    """Each joint minus its parent, and the mean of their scores; of the centre, zero and its own score."""
    return difference(poses, poses[:, :, :, list(graph.parents)])


def motion(poses: Poses, graph: SkeletonGraph) -> Channels:
    """The next pose minus this one, and the mean of their scores; the last pose has none."""
    return to_next(poses)


def bone_motion(poses: Poses, graph: SkeletonGraph) -> Channels:
    """The next pose's bones minus this one's, and the mean of their scores."""
    return to_next(bone(poses, graph).values)


def biomechanics(poses: Poses, graph: SkeletonGraph) -> Channels:
    """The channels of `musclemap_jax.biomechanics`; speeds are per clip, whatever the number of poses."""
    by_person = poses.swapaxes(1, 2)
    channels = biomechanical_channels(
        by_person[..., :2], by_person[..., 2] > 0, LAYOUTS[graph.layout].joints, poses_per_s=poses.shape[1]
    )
    return Channels(*(array.swapaxes(1, 2) for array in channels))


def present(poses: Poses) -> Bool[Array, "B T P V 1"]:
    """True for a joint that was found."""
    return poses[..., 2:] > 0


def masked(values: Float[Array, "B T P V F"], valid: Bool[Array, "B T P V #F"]) -> Channels:
    """Channels that are zero, without a gradient, where they are not valid."""
    valid = jnp.broadcast_to(valid, values.shape)
    return Channels(jnp.where(valid, values, jnp.zeros_like(values)), valid)


def difference(ends: Poses, starts: Poses) -> Channels:
    """x and y of `ends` minus those of `starts`, and the mean of their scores, where both are present."""
    values = jnp.concatenate([(ends - starts)[..., :2], (ends + starts)[..., 2:] / 2], axis=-1)
    return masked(values, present(ends) & present(starts))


def to_next(poses: Poses) -> Channels:
    """The difference to the next pose."""
    nobody = jnp.zeros_like(poses[:, :1])
    return difference(jnp.concatenate([poses[:, 1:], nobody], axis=1), poses)


STREAMS: dict[str, Stream] = {
    JOINT: Stream(NUM_COORDINATES, joint),
    "bone": Stream(NUM_COORDINATES, bone),
    "motion": Stream(NUM_COORDINATES, motion),
    "bone_motion": Stream(NUM_COORDINATES, bone_motion),
    "biomechanics": Stream(len(CHANNELS), biomechanics),
}
"""Streams by name."""


def check_streams(names: tuple[str, ...], graph: SkeletonGraph) -> None:
    """Refuses an impossible choice of streams.

    Raises:
      ValueError: None, one twice, an unknown one, or one that the layout cannot have.
    """
    if not names or len(set(names)) < len(names) or not set(names) <= STREAMS.keys():
        raise ValueError(f"streams: expected one or several different ones of {', '.join(STREAMS)}, got {names}")
    if names != (JOINT,):
        _ = graph.parents  # raises for a layout without names of joints
