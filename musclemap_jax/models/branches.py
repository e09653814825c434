"""The table of branches: everything that the rest of the package needs to know about each, in one object.

A branch runs a backbone on one modality of the batch. To add one, write the backbone in a file of its own, enter it in
its room's `backbones.py`, and the branch here (docs/extending.md). Nothing outside this table and a backbone's own
files asks for a branch's name.

Letters of shapes: B clips, S views, T H W frames and pixels, C channels, T_s poses, P persons, V joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from musclemap_jax.errors import UserError
from musclemap_jax.models.backbone import Backbone
from musclemap_jax.models.skeleton.backbones import CTRGCN, HDGCN_BACKBONE, POSE_STATISTICS, STGCN
from musclemap_jax.models.skeleton.streams import NUM_COORDINATES
from musclemap_jax.models.video.backbones import C2D, I3D, MVIT, SLOW, SLOWFAST, SWIN
from musclemap_jax.models.video.video_input import imagenet_rgb, normalised_flow, normalised_rgb, rgb_difference

Batch = Mapping[str, jax.Array | np.ndarray]
Inputs = tuple[jax.Array | np.ndarray, ...]

OWN_WEIGHT = "own_weight"
"""Key of a mixed batch: (B,) weight of each clip in its features and labels, the rest is that of clip B - 1 - i."""

NUM_POSES = 8
"""Poses in an example of a skeleton backbone's input; no parameter's shape depends on it."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """One branch of a model.

    Attributes:
      name: Its name in a configuration, in the parameters' paths and in reports.
      modality: The modality of the batch that it reads (`data.batch.InputSpec.modalities`).
      backbone: The network; several branches may share a backbone's architecture, not its parameters.
      inputs: Preprocessing on the device: (batch, dtype) -> inputs of the module, whose first axis is B * S or B.
      example: Inputs by which the parameters' shapes are found: (spec, num_persons) -> inputs of one clip.
      present: Tells the clips in which the branch sees something: batch -> (B,) bool. None where every clip has input.
      mixes_features: Whether the network itself mixes each clip's features with those of clip B - 1 - i where the batch
        says how (`OWN_WEIGHT`): mixup and CutMix then leave its modality as it is.
    """

    name: str
    modality: str
    backbone: Backbone
    inputs: Callable[[Batch, DTypeLike], Inputs]
    example: Callable[[Any, int], Inputs]
    present: Callable[[Batch], jax.Array] | None = None
    mixes_features: bool = False


def _clip_branch(
    name: str, backbone: Backbone, modality: str, channels: int, normalise: Callable[[jax.Array], jax.Array]
) -> Branch:
    """A branch on uint8 clips (B, S, T, H, W, C) of the batch, every view a row of its own."""

    def inputs(batch: Batch, dtype: DTypeLike) -> Inputs:
        clips = jnp.asarray(batch[modality])
        return (normalise(clips.reshape(-1, *clips.shape[2:])).astype(dtype),)

    def example(spec: Any, num_persons: int) -> Inputs:
        # No parameter's shape depends on the size of the clip.
        return (jnp.zeros((1, *spec.smallest_input, channels)),)

    return Branch(name, modality, backbone, inputs, example)


def _skeleton_inputs(batch: Batch, dtype: DTypeLike) -> Inputs:
    """Poses (B, T_s, P, V, 3), which the branch normalises in float32 itself, and which of them are valid."""
    return batch["skeleton"], batch["skeleton_valid"]


def _skeleton_example(spec: Any, num_persons: int) -> Inputs:
    poses = (1, NUM_POSES, num_persons, spec.graph.num_joints, NUM_COORDINATES)
    return jnp.zeros(poses), jnp.ones(poses[:3], bool)


def _anybody_seen(batch: Batch) -> jax.Array:
    """(B,) bool, True for a clip with a person in some pose."""
    return jnp.asarray(batch["skeleton_valid"]).any((1, 2))


def _skeleton_branch(name: str, backbone: Backbone) -> Branch:
    return Branch(name, "skeleton", backbone, _skeleton_inputs, _skeleton_example, _anybody_seen)


def _statistics_branch(name: str, backbone: Backbone) -> Branch:
    """A skeleton branch that mixes the statistics of two clips, where the mean of their poses would be no pose."""

    def inputs(batch: Batch, dtype: DTypeLike) -> Inputs:
        own = batch.get(OWN_WEIGHT)
        return (*_skeleton_inputs(batch, dtype), *(() if own is None else (own,)))

    return Branch(name, "skeleton", backbone, inputs, _skeleton_example, _anybody_seen, mixes_features=True)


BRANCHES: dict[str, Branch] = {
    branch.name: branch
    for branch in (
        _clip_branch("video", MVIT, "video", 3, normalised_rgb),
        _skeleton_branch("skeleton", HDGCN_BACKBONE),
        _clip_branch("rgb_diff", MVIT, "video", 3, rgb_difference),
        _clip_branch("optical_flow", MVIT, "flow", 2, normalised_flow),
        _clip_branch("swin", SWIN, "video", 3, imagenet_rgb),
        *(_clip_branch(backbone.name, backbone, "video", 3, normalised_rgb) for backbone in (C2D, I3D, SLOW, SLOWFAST)),
        *(_skeleton_branch(backbone.name, backbone) for backbone in (STGCN, CTRGCN)),
        _statistics_branch("pose_statistics", POSE_STATISTICS),
    )
}
"""Branches by name; a configuration's file may add its own."""


class BackboneSpecs(dict[str, Any]):
    """Architectures by backbone name, one for every backbone of the table; hashable, so never changed in place."""

    def __init__(self, given: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        """Takes the given architectures, and defaults for the rest.

        Raises:
          UserError: Unknown backbone.
        """
        defaults = {branch.backbone.name: branch.backbone.default for branch in BRANCHES.values()}
        super().__init__(defaults | dict(given))
        if unknown := self.keys() - defaults:
            raise UserError(f"config.model.backbones: expected some of {', '.join(defaults)}, got {min(unknown)!r}")

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))
