"""The table of branches: everything that the rest of the package needs to know about each, in one object.

A branch runs a backbone on one modality of the batch. To add one, write the backbone in a file of its own and enter it
here (docs/extending.md). Nothing outside this table and a backbone's own files asks for a branch's name.

Letters of shapes: B clips, S views, T H W frames and pixels, C channels, T_s poses, P persons, V joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.skeleton.multiply_adds import hdgcn_multiply_adds
from musclemap_jax.models.skeleton.streams import NUM_COORDINATES
from musclemap_jax.models.video.multiply_adds import mvit_multiply_adds
from musclemap_jax.models.video.mvit import MViT, MViTSpec
from musclemap_jax.models.video.video_input import normalised_flow, normalised_rgb, rgb_difference
from musclemap_jax.sharding.rules import Rules

Batch = Mapping[str, jax.Array | np.ndarray]
Inputs = tuple[jax.Array | np.ndarray, ...]
Shape = tuple[int, ...]

NUM_POSES = 8
"""Poses in an example of a skeleton backbone's input; no parameter's shape depends on it."""


_NOTHING = r"(?!)"
"""A regular expression that matches nothing."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network that turns one modality into class tokens.

    Attributes:
      name: Key of its architecture in `config.model.backbones`.
      default: Its default architecture, a frozen dataclass with `output_dim`, the width of its final tokens, and
        `stage_ends`, the last layer of every stage counted from 0, the very last layer included.
      build: (spec, num_tokens, receiver, dtype, remat, name) -> module, called as
        module(*inputs, train=...) -> BranchOutput. `num_tokens` is M, 0 for the published network; `remat` is
        `ModelSpec.remat`, which a backbone may ignore.
      multiply_adds: Counts the forward pass without a head: (spec, shapes of the inputs without their first axis,
        class tokens of all sets) -> multiply-adds for each row of the inputs.
      sharding_rules: Rules for its parameters, tried before the common ones; patterns are searched in the path below
        the branch's name.
      token_pattern: Regular expression that matches the path, below the branch's name, of the parameters that exist
        because of the class tokens.
      table_pattern: Regular expression that matches the path of tables of relative positions (..., rows, D); loaded
        ones of another length are interpolated.
      graph_pattern: Regular expression that matches the path of parameters and statistics that belong to a skeleton
        layout's graph or to a number of persons; loaded ones of another graph or shape are left out.
      stream_pattern: Regular expression that matches the path of parameters and statistics that exist because of
        additional input streams; where one side lacks a stream, ours keeps its initial values.
      graph: The skeleton graph of an architecture, for comparison; None where there is none.
      input_fields: Fields of `config.input` that must equal the architecture's: spec -> {field: value}.
    """

    name: str
    default: Any
    build: Callable[[Any, int, bool, DTypeLike, str, str], nn.Module]
    multiply_adds: Callable[[Any, Sequence[Shape], int], int]
    sharding_rules: Rules = ()
    token_pattern: str = r"^class_tokens/"
    table_pattern: str = _NOTHING
    graph_pattern: str = _NOTHING
    stream_pattern: str = _NOTHING
    graph: Callable[[Any], Any] = lambda spec: None
    input_fields: Callable[[Any], Mapping[str, Any]] = lambda spec: {}


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
    """

    name: str
    modality: str
    backbone: Backbone
    inputs: Callable[[Batch, DTypeLike], Inputs]
    example: Callable[[Any, int], Inputs]
    present: Callable[[Batch], jax.Array] | None = None


def _build_mvit(spec: MViTSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> MViT:
    return MViT(spec, num_tokens or 1, receiver, dtype, remat=remat, name=name)


def _build_hdgcn(spec: HDGCNSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> HDGCN:
    return HDGCN(spec, num_tokens, receiver, dtype, name=name)


MVIT = Backbone(
    name="mvit",
    default=MViTSpec(),
    build=_build_mvit,
    multiply_adds=mvit_multiply_adds,
    sharding_rules=(
        (r"patch_embed/.*kernel$", ("fsdp",)),
        # Narrowing projections follow widening ones, so that the two are one pair for tensor parallelism.
        (r"(attn/proj|mlp/fc2)/kernel$", ("tensor", "fsdp")),
        # Widening projections and everything else of the form (..., inputs, outputs).
        (r"kernel$", ("fsdp", "tensor")),
        (r"pool_[qkv]$", ("fsdp",)),
        (r"(rel_pos_[thw]|classification|receiver)$", ()),
    ),
    table_pattern=r"/rel_pos_[thw]$",
)

HDGCN_BACKBONE = Backbone(
    name="hdgcn",
    default=HDGCNSpec(),
    build=_build_hdgcn,
    multiply_adds=hdgcn_multiply_adds,
    sharding_rules=(
        # Never cut over `tensor`: the network is narrow, and GSPMD (jax 0.10.2, CPU) gives it a wrong gradient on a
        # 2x2x2 mesh as soon as what its tokens go into is cut there.
        (r"kernel$", ("fsdp", None)),
        (r"(adjacency|spread|tokens)$", ()),
    ),
    token_pattern=r"^(tokens|norm|unit\w+/tokens)(/|$)",
    graph_pattern=r"^input_norm/|/graph/(adjacency$|down_|subset_|edge/)",
    stream_pattern=r"(^|/)stream_\w+",
    graph=lambda spec: spec.graph,
    input_fields=lambda spec: {"layout": spec.layout},
)


def _clip_branch(name: str, modality: str, channels: int, normalise: Callable[[jax.Array], jax.Array]) -> Branch:
    """A branch of MViTv2 on uint8 clips (B, S, T, H, W, C) of the batch, every view a row of its own."""

    def inputs(batch: Batch, dtype: DTypeLike) -> Inputs:
        clips = jnp.asarray(batch[modality])
        return (normalise(clips.reshape(-1, *clips.shape[2:])).astype(dtype),)

    def example(spec: MViTSpec, num_persons: int) -> Inputs:
        # The smallest clip: relative position tables have the length of the spec's input size whatever comes in.
        return (jnp.zeros((1, *spec.patch_stride, channels)),)

    return Branch(name, modality, MVIT, inputs, example)


def _skeleton_inputs(batch: Batch, dtype: DTypeLike) -> Inputs:
    """Poses (B, T_s, P, V, 3), which the branch normalises in float32 itself, and which of them are valid."""
    return batch["skeleton"], batch["skeleton_valid"]


def _skeleton_example(spec: HDGCNSpec, num_persons: int) -> Inputs:
    poses = (1, NUM_POSES, num_persons, spec.graph.num_joints, NUM_COORDINATES)
    return jnp.zeros(poses), jnp.ones(poses[:3], bool)


def _anybody_seen(batch: Batch) -> jax.Array:
    """(B,) bool, True for a clip with a person in some pose."""
    return jnp.asarray(batch["skeleton_valid"]).any((1, 2))


BRANCHES: dict[str, Branch] = {
    branch.name: branch
    for branch in (
        _clip_branch("video", "video", 3, normalised_rgb),
        Branch("skeleton", "skeleton", HDGCN_BACKBONE, _skeleton_inputs, _skeleton_example, _anybody_seen),
        _clip_branch("rgb_diff", "video", 3, rgb_difference),
        _clip_branch("optical_flow", "flow", 2, normalised_flow),
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
