"""HD-GCN: the skeleton branch, with or without class tokens.

Source: HD-GCN (Lee et al., ICCV 2023) and its published code, which the branch without tokens equals (reference numbers
in tests/data/goldens/hdgcn). Differs from it: persons count in the final mean by their number of poses; class tokens
(skeleton_tokens.py) may join the graph. As in the published code an absent person is a skeleton of zeros that passes
through the units and enters the batch statistics like any other. Consecutive equal units are one loop
(scanned_layers.py).

The published network takes one input stream (streams.py). Further ones enter the first unit by weights that start at
zero beside the published ones, each through a batch norm of its own, so at the start the network is the published one.

Letters of shapes: B clips, T poses, P persons, BP skeletons (clips times persons), V joints, F channels of all streams,
M class tokens in one set, G class tokens of all sets, D width; 2 marks the output of a unit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from musclemap_jax.models.class_tokens import split_layers
from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.precision import at_least_float32
from musclemap_jax.models.layers.scanned_layers import LayerGroup, group_equal_layers, scan_layers
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.models.skeleton.graph import SkeletonGraph, skeleton_graph
from musclemap_jax.models.skeleton.hierarchical_conv import HierarchicalGraphConv, PointwiseConv, Streams
from musclemap_jax.models.skeleton.persons import mean_over_persons, person_weights
from musclemap_jax.models.skeleton.skeleton_tokens import SkeletonTokens, initial_tokens, token_norm
from musclemap_jax.models.skeleton.streams import JOINT, STREAMS, check_streams
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES, MultiScaleTemporalConv
from musclemap_jax.sharding.activation_sharding import constrain_clips

TokensAndJoints = tuple[jax.Array | None, jax.Array]


@dataclasses.dataclass(frozen=True)
class UnitSpec:
    """One unit, resolved from an HDGCNSpec, with its widths and temporal stride.

    The first unit has no residual and sums its hierarchies instead of weighting them; after the last one the joints are
    not read, so it does not update them by the tokens. `streams` are additional input streams, which the first one
    takes beside `features_in`.
    """

    features_in: int
    features: int
    stride: int
    is_first: bool
    is_last: bool
    streams: Streams = ()

    @property
    def preserves_shape(self) -> bool:
        """Whether the output has the shape of the input."""
        return self.features_in == self.features and self.stride == 1


@dataclasses.dataclass(frozen=True)
class HDGCNSpec:
    """Shape of the network; the defaults are the published one on our canonical layout.

    Attributes:
      layout: A skeleton layout with a graph (`graph.LEVELS`).
      centre: The joint that the levels start from; None for the layout's default.
      streams: Input streams, names in `streams.STREAMS`: the first in place of the published one, the others beside it.
      widths: Width of each unit, multiples of 4.
      strided_units: Units, counted from 1, with temporal stride 2; None for those that are wider than the one before,
        as published (5 and 8).
      joint_neighbours: Neighbours in the EdgeConv over joints.
      hierarchy_neighbours: Neighbours in the EdgeConv over hierarchies.
      kernel_size: The number of taps of the temporal convolutions, odd.
      dilations: Dilations of the two temporal convolutions.
    """

    layout: str = "coco19"
    centre: str | None = None
    streams: tuple[str, ...] = (JOINT,)
    widths: tuple[int, ...] = (64,) * 4 + (128,) * 3 + (256,) * 3
    strided_units: tuple[int, ...] | None = None
    joint_neighbours: int = 5
    hierarchy_neighbours: int = 3
    kernel_size: int = 5
    dilations: tuple[int, int] = (1, 2)

    def __post_init__(self) -> None:
        if not self.widths or any(width < 1 or width % NUM_BRANCHES for width in self.widths):
            raise ValueError(f"HD-GCN's widths must be multiples of {NUM_BRANCHES}, got {self.widths}")
        if unknown := [unit for unit in self.strided_units or () if not 1 <= unit <= self.num_units]:
            raise ValueError(f"HD-GCN has units 1 to {self.num_units}, got stride 2 for units {unknown}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"HD-GCN's temporal kernel size must be odd and positive, got {self.kernel_size}")
        if min(self.dilations) < 1:
            raise ValueError(f"HD-GCN's dilations must be at least 1, got {self.dilations}")
        nodes = {"joint_neighbours": self.graph.num_joints, "hierarchy_neighbours": self.graph.num_hierarchies}
        for name, highest in nodes.items():
            if not 1 <= getattr(self, name) <= highest:
                raise ValueError(f"HD-GCN's {name} must be from 1 to {highest}, got {getattr(self, name)}")
        check_streams(self.streams, self.graph)

    @property
    def num_units(self) -> int:
        return len(self.widths)

    @property
    def output_dim(self) -> int:
        """Width after the last unit."""
        return self.widths[-1]

    @property
    def graph(self) -> SkeletonGraph:
        """The layout's levels."""
        return skeleton_graph(self.layout, self.centre)

    @property
    def strides(self) -> tuple[int, ...]:
        """Temporal stride of each unit, 1 or 2."""
        if self.strided_units is not None:
            return tuple(2 if unit in self.strided_units else 1 for unit in range(1, self.num_units + 1))
        before = (self.widths[0], *self.widths[:-1])
        return tuple(2 if wide > narrow else 1 for narrow, wide in zip(before, self.widths, strict=True))

    def units(self) -> tuple[UnitSpec, ...]:
        """Resolves every unit; the first takes the streams."""
        (_, channels), *others = ((name, STREAMS[name].num_channels) for name in self.streams)
        shapes = zip((channels, *self.widths[:-1]), self.widths, self.strides, strict=True)
        units = [UnitSpec(*shape, index == 0, index + 1 == self.num_units) for index, shape in enumerate(shapes)]
        return (dataclasses.replace(units[0], streams=tuple(others)), *units[1:])

    def unit_groups(self) -> tuple[LayerGroup, ...]:
        """Consecutive equal units, counted from 1: 1, 2 to 4, 5, 6 and 7, 8, 9, 10 as published."""
        return group_equal_layers(self.units(), lambda unit: unit.preserves_shape, first=1)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The last unit, counted from 0, of each stage of equal widths: (3, 6, 9) as published."""
        last = self.num_units - 1
        return tuple(unit for unit in range(last) if self.widths[unit] != self.widths[unit + 1]) + (last,)


class HDGCNUnit(nn.Module):
    """Graph convolution, temporal convolution and residual; then the exchange with the class tokens, if any."""

    spec: HDGCNSpec
    unit: UnitSpec
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "BP G D_tokens"] | None, x: Float[Array, "D V T BP"], train: bool
    ) -> tuple[Float[Array, "BP G D2"] | None, Float[Array, "D2 V T2 BP"]]:
        """Maps tokens and joints to the unit's width; T2 = ceil(T / stride)."""
        spec, unit = self.spec, self.unit
        joint, hierarchy = spec.joint_neighbours, spec.hierarchy_neighbours
        graph_conv = HierarchicalGraphConv(
            spec.graph, unit.features, not unit.is_first, joint, hierarchy, self.dtype, unit.streams, name="graph"
        )
        temporal_conv = MultiScaleTemporalConv(
            unit.stride, spec.kernel_size, spec.dilations, self.dtype, name="temporal"
        )
        hidden = graph_conv(x, train)
        self.sow("intermediates", "graph_output", hidden)
        y = temporal_conv(hidden, train)
        self.sow("intermediates", "temporal_output", y)
        if not unit.is_first and unit.preserves_shape:
            y = y + x
        elif not unit.is_first:
            y = y + PointwiseConv(unit.features, self.dtype, name="residual")(x[:, :, :: unit.stride], train)
        x = relu(y)
        if tokens is not None:
            tokens, x = SkeletonTokens(not unit.is_last, self.dtype, name="tokens")(tokens, x)
        self.sow("intermediates", "unit_output", x)
        return tokens, x


class HDGCN(nn.Module):
    """The skeleton branch.

    Attributes:
      spec: Shape of the network.
      num_tokens: M, class tokens in one set; 0 for none: the output is then the pooled features.
      receiver: Adds a second set of M tokens, which receives another branch's knowledge in distillation.
      dtype: Dtype of the computation; parameters, statistics, softmax and the final norm are float32.
    """

    spec: HDGCNSpec = HDGCNSpec()
    num_tokens: int = 0
    receiver: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, poses: Float[Array, "B T P V 3"], pose_valid: Bool[Array, "B T P"], train: bool) -> BranchOutput:
        """Applies the branch.

        Args:
          poses: x and y relative to the person's size and centre, y downwards, and score; absent joints are zero.
          pose_valid: True where the person is in the frame. A person who never is has weight 0 in all outputs; a clip
            without persons yields zeros before the final norm.
          train: True uses batch statistics and updates the running ones (collection ``batch_stats``). Every row of the
            batch counts in them: padding is for evaluation only.

        Returns:
          Without tokens, final_classification (B, 1, D): the features' mean over time, joints and persons. With tokens,
          classification and receiver tokens of every unit (B, M, D_l), and the final ones after a layer norm.

        Raises:
          ValueError: The number of joints is not the layout's.
        """
        num_clips, _, num_persons, num_joints, _ = poses.shape
        if num_joints != self.spec.graph.num_joints:
            raise ValueError(
                f"skeleton layout {self.spec.layout} has {self.spec.graph.num_joints} joints, got poses {poses.shape}: "
                "convert them to this layout or change the spec's layout"
            )
        person_weight = person_weights(jnp.asarray(pose_valid))
        x = self._input(jnp.asarray(poses, at_least_float32(self.dtype)), train)
        num_tokens = self.num_tokens * (1 + self.receiver)
        tokens = initial_tokens(self.param, num_tokens, self.spec.widths[0], num_clips * num_persons, self.dtype)
        layers, units = [], self.spec.units()

        def body(unit: HDGCNUnit, carry: TokensAndJoints, _: None) -> tuple[TokensAndJoints, Any]:
            tokens, x = unit(*carry, train)
            x = constrain_clips(x, axis=-1)
            return (tokens, x), None if tokens is None else mean_over_persons(tokens, person_weight)

        for group in self.spec.unit_groups():
            unit = HDGCNUnit(self.spec, units[group.first - 1], self.dtype, name=group.name("unit{:02d}"))
            (tokens, x), tokens_of_layers = scan_layers(body, unit, group, (tokens, x), None)
            layers += tokens_of_layers
        joints = x.mean(2, dtype=at_least_float32(self.dtype)).transpose(2, 1, 0)  # (BP, V, D)
        joints = mean_over_persons(joints, person_weight).astype(self.dtype)
        if tokens is None:
            features = x.mean((1, 2), dtype=at_least_float32(self.dtype)).T[:, None, :]
            pooled = mean_over_persons(features, person_weight).astype(self.dtype)
            return BranchOutput((), (), pooled, features=joints)
        output = split_layers(layers, token_norm(self.dtype)(layers[-1]), self.num_tokens)
        return dataclasses.replace(output, features=joints)

    def _input(self, poses: jax.Array, train: bool) -> Float[Array, "F V T BP"]:
        """The streams' channels, normalised; those of an additional stream are zero where they are not valid."""
        first, *others = self.spec.streams
        x = self._normalise(STREAMS[first].compute(poses, self.spec.graph).values, "input_norm", train)
        self.sow("intermediates", "input_output", x)
        inputs = [x]
        for name in others:
            values, valid = STREAMS[name].compute(poses, self.spec.graph)
            values = self._normalise(values, f"stream_{name}_norm", train)
            inputs.append(jnp.where(valid, values, jnp.zeros_like(values)))
        return jnp.concatenate([self._channels_first(x) for x in inputs])

    def _normalise(self, values: Float[Array, "B T P V F"], name: str, train: bool) -> Float[Array, "B T P V F"]:
        """Batch norm of a stream, of every person's joints apart."""
        return BatchNorm(values.shape[2:], name=name)(values, (2, 3, 4), train)

    def _channels_first(self, x: Float[Array, "B T P V F"]) -> Float[Array, "F V T BP"]:
        num_clips, num_frames, num_persons, num_joints, channels = x.shape
        x = x.transpose(4, 3, 1, 0, 2).reshape(channels, num_joints, num_frames, num_clips * num_persons)
        return x.astype(self.dtype)
