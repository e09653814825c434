"""HD-GCN: the skeleton branch, with or without class tokens.

Source: HD-GCN (Lee et al., ICCV 2023) and its published code, which the branch without tokens equals (reference numbers
in tests/data/goldens/hdgcn). Differs from it: absent persons do not count in the final mean over persons; class tokens
(`skeleton_tokens`) may join the graph. As in the published code an absent person is a skeleton of zeros that runs
through the units and enters the batch statistics like any other.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.activation_sharding import keep_spread
from musclemap_jax.models.batch_norm import BatchNorm, at_least_float32
from musclemap_jax.models.graph import SkeletonGraph, skeleton_graph
from musclemap_jax.models.hierarchical_conv import HierarchicalGraphConv, PointwiseConv
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.models.skeleton_tokens import NORM_EPSILON, SkeletonTokens
from musclemap_jax.models.temporal_conv import NUM_BRANCHES, MultiScaleTemporalConv

TOKEN_STDDEV = 0.02


@dataclasses.dataclass(frozen=True)
class HDGCNSpec:
    """Shape of the network; the defaults are the published one on our canonical layout.

    Attributes:
      layout: skeleton layout with a graph (`graph.known_graphs`).
      centre: joint that the levels start from; None for the layout's default.
      widths: width of each unit, multiples of 4.
      strided_units: units, counted from 1, with temporal stride 2; None for those that are wider than the one before,
        as published (5 and 8).
      joint_neighbours: k of the EdgeConv over joints.
      hierarchy_neighbours: k of the EdgeConv over hierarchies.
      kernel_size: taps of the temporal convolutions, odd.
      dilations: of the two temporal convolutions.
    """

    layout: str = "coco19"
    centre: str | None = None
    widths: tuple[int, ...] = (64,) * 4 + (128,) * 3 + (256,) * 3
    strided_units: tuple[int, ...] | None = None
    joint_neighbours: int = 5
    hierarchy_neighbours: int = 3
    kernel_size: int = 5
    dilations: tuple[int, int] = (1, 2)

    def __post_init__(self) -> None:
        if not self.widths or any(width < 1 or width % NUM_BRANCHES for width in self.widths):
            raise ValueError(f"HD-GCN's widths must be multiples of {NUM_BRANCHES}, got {self.widths}")
        beyond = [unit for unit in self.strided_units or () if not 1 <= unit <= self.num_units]
        if beyond:
            raise ValueError(f"HD-GCN has units 1 to {self.num_units}, got stride 2 for units {beyond}")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"HD-GCN's temporal kernel size must be odd, got {self.kernel_size}")
        skeleton_graph(self.layout, self.centre)

    @property
    def num_units(self) -> int:
        return len(self.widths)

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

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The last unit, counted from 0, of every run of equal widths: (3, 6, 9) as published."""
        last = self.num_units - 1
        return tuple(unit for unit in range(last) if self.widths[unit] != self.widths[unit + 1]) + (last,)


class HDGCNUnit(nn.Module):
    """Graph convolution, temporal convolution and residual.

    Attributes:
      spec: shape of the network.
      features: width of the output.
      stride: temporal stride.
      first: the first unit has no residual and sums its hierarchies instead of weighing them.
      dtype: dtype of the computation.
    """

    spec: HDGCNSpec
    features: int
    stride: int
    first: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (C, V, T, N) to (C', V, T', N), T' = ceil(T / stride)."""
        graph_conv = HierarchicalGraphConv(
            self.spec.graph,
            self.features,
            attention=not self.first,
            joint_neighbours=self.spec.joint_neighbours,
            hierarchy_neighbours=self.spec.hierarchy_neighbours,
            dtype=self.dtype,
            name="graph",
        )
        temporal_conv = MultiScaleTemporalConv(
            self.stride, self.spec.kernel_size, self.spec.dilations, self.dtype, name="temporal"
        )
        hidden = graph_conv(x, train)
        self.sow("intermediates", "graph_output", hidden)
        y = temporal_conv(hidden, train)
        self.sow("intermediates", "temporal_output", y)
        if self.first:
            return nn.relu(y)
        if x.shape[0] != self.features or self.stride != 1:
            x = PointwiseConv(self.features, self.dtype, name="residual")(x[:, :, :: self.stride], train)
        return nn.relu(y + x)


class HDGCN(nn.Module):
    """The skeleton branch.

    Attributes:
      spec: shape of the network.
      num_tokens: M class tokens of one set; 0 for none, the output is then the pooled features.
      receiver: adds a second set of M tokens, which receives another branch's knowledge in distillation.
      dtype: dtype of the computation; parameters, statistics, softmax and the final norm are float32.
    """

    spec: HDGCNSpec = HDGCNSpec()
    num_tokens: int = 0
    receiver: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, poses: jax.Array, pose_valid: jax.Array, train: bool) -> BranchOutput:
        """Runs the branch.

        Args:
          poses: (B, T_s, P, V, 3) x and y relative to the person's size and centre, and score; absent joints zero.
          pose_valid: (B, T_s, P) bool, True where the person is in the frame. A person that never is has weight 0 in
            all outputs; a clip without persons yields zeros before the final norm.
          train: True takes batch statistics and updates the running ones (collection ``batch_stats``). Every row of
            the batch counts in them: padding is for evaluation only.

        Returns:
          Without tokens final_classification (B, 1, D), the features' mean over time, joints and persons. With tokens
          classification and receiver tokens of every unit (B, M, D_l), and the final ones after a layer norm.

        Raises:
          ValueError: poses of another number of joints than the layout has.
        """
        num_clips, _, num_persons, num_joints, _ = poses.shape
        if num_joints != self.spec.graph.num_joints:
            raise ValueError(
                f"skeleton layout {self.spec.layout} has {self.spec.graph.num_joints} joints, got poses {poses.shape}: "
                "convert them to the layout or set the spec's layout"
            )
        person_weight = person_weights(pose_valid)
        x = self._normalise_input(poses, train)
        tokens = self._initial_tokens(num_clips * num_persons)
        layers = []
        for index, (width, stride) in enumerate(zip(self.spec.widths, self.spec.strides, strict=True)):
            x = HDGCNUnit(self.spec, width, stride, index == 0, self.dtype, name=f"unit{index + 1:02d}")(x, train)
            if tokens is not None:
                returns_joints = index + 1 < self.spec.num_units
                exchange = SkeletonTokens(returns_joints, self.dtype, name=f"tokens{index + 1:02d}")
                tokens, x = exchange(tokens, x)
                layers.append(mean_over_persons(tokens, person_weight))
            x = keep_spread(x, axis=-1)
            self.sow("intermediates", "unit_output", x)
        if tokens is None:
            features = x.mean((1, 2), dtype=at_least_float32(self.dtype)).T[:, None, :]
            return BranchOutput((), (), mean_over_persons(features, person_weight).astype(self.dtype))
        return self._token_output(layers)

    def _normalise_input(self, poses: jax.Array, train: bool) -> jax.Array:
        """Batch norm of every person's joints' coordinates; (B, T, P, V, 3) to (3, V, T, B * P)."""
        num_clips, num_frames, num_persons, num_joints, num_coordinates = poses.shape
        x = poses.astype(at_least_float32(self.dtype))
        norm = BatchNorm((num_persons, num_joints, num_coordinates), name="input_norm")
        x = norm(x, (2, 3, 4), train)
        self.sow("intermediates", "input_output", x)
        x = x.transpose(4, 3, 1, 0, 2).reshape(num_coordinates, num_joints, num_frames, num_clips * num_persons)
        return x.astype(self.dtype)

    def _initial_tokens(self, num_skeletons: int) -> jax.Array | None:
        """Learned tokens (N, M or 2 M, D_1), [receiver | classification], the same for every skeleton."""
        if not self.num_tokens:
            return None
        shape = (self.num_tokens * (1 + self.receiver), self.spec.widths[0])
        tokens = self.param("tokens", nn.initializers.truncated_normal(TOKEN_STDDEV), shape, jnp.float32)
        return jnp.broadcast_to(tokens.astype(self.dtype)[None], (num_skeletons, *shape))

    def _token_output(self, layers: list[jax.Array]) -> BranchOutput:
        norm = nn.LayerNorm(epsilon=NORM_EPSILON, dtype=at_least_float32(self.dtype), name="norm")
        final = norm(layers[-1]).astype(self.dtype)
        if not self.receiver:
            return BranchOutput(tuple(layers), (), final)
        return BranchOutput(
            classification=tuple(layer[:, self.num_tokens :] for layer in layers),
            receiver=tuple(layer[:, : self.num_tokens] for layer in layers),
            final_classification=final[:, self.num_tokens :],
            final_receiver=final[:, : self.num_tokens],
        )


def person_weights(pose_valid: jax.Array) -> jax.Array:
    """Maps pose_valid (B, T, P) to float32 weights (B, P): equal for the persons seen, sum 1 (0 where none is)."""
    seen = pose_valid.astype(bool).any(1).astype(jnp.float32)
    return seen / jnp.maximum(seen.sum(1, keepdims=True), 1)


def mean_over_persons(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Averages (B * P, G, D) over persons with weights (B, P) to (B, G, D), in float32 inside."""
    by_person = x.astype(at_least_float32(x.dtype)).reshape(*weights.shape, *x.shape[1:])
    return (by_person * weights[:, :, None, None]).sum(1).astype(x.dtype)
