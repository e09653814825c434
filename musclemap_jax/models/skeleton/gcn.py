"""The common frame of ST-GCN and CTR-GCN: an input norm, ten units of graph and temporal convolution, a mean.

Sources: stgcn.py and ctrgcn.py, whose units fill it. Differs from what was published as hdgcn.py does: persons count
in the final mean by their number of poses, and class tokens (skeleton_tokens.py) may join the graph. Channels are
the leading axis and joints the last, so that both the convolutions over channels and the products with the edges are
matrix products without transposes. Consecutive equal units are one loop (scanned_layers.py).

Letters of shapes: B clips, T poses, P persons, BP skeletons (clips times persons), V joints, M class tokens in one set,
G class tokens of all sets, D width; 2 marks the output of a unit.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.class_tokens import split_layers
from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.precision import at_least_float32
from musclemap_jax.models.layers.scanned_layers import LayerGroup, group_equal_layers, scan_layers
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.models.skeleton.hdgcn import TokensAndJoints, UnitSpec
from musclemap_jax.models.skeleton.persons import mean_over_persons, person_weights
from musclemap_jax.models.skeleton.skeleton_tokens import SkeletonTokens, initial_tokens, token_norm
from musclemap_jax.models.skeleton.spatial_graph import SpatialGraph, spatial_graph
from musclemap_jax.models.skeleton.streams import NUM_COORDINATES
from musclemap_jax.sharding.activation_sharding import constrain_clips

WIDTHS = (64,) * 4 + (128,) * 3 + (256,) * 3


@dataclasses.dataclass(frozen=True)
class GCNSpec:
    """Shape of a network; the defaults are the published one on our canonical layout.

    Attributes:
      layout: A skeleton layout with links (`spatial_graph.LINKS`).
      widths: Width of each unit; a unit that is wider than the one before has temporal stride 2.
    """

    layout: str = "coco19"
    widths: tuple[int, ...] = WIDTHS

    def __post_init__(self) -> None:
        if not self.widths or any(width < 1 or width % self.width_multiple for width in self.widths):
            raise UserError(
                f"{type(self).__name__}.widths: expected multiples of {self.width_multiple}, got {self.widths}"
            )
        spatial_graph(self.graph_name)

    @property
    def width_multiple(self) -> int:
        """What widths are multiples of."""
        return 1

    @property
    def graph_name(self) -> str:
        """Key of `spatial_graph.LINKS`."""
        return self.layout

    @property
    def graph(self) -> SpatialGraph:
        """The layout's links."""
        return spatial_graph(self.graph_name)

    @property
    def output_dim(self) -> int:
        """Width after the last unit."""
        return self.widths[-1]

    def units(self) -> tuple[UnitSpec, ...]:
        """Resolves every unit."""
        before, last, specs = NUM_COORDINATES, len(self.widths) - 1, []
        for index, width in enumerate(self.widths):
            stride = 2 if index and width > before else 1
            specs.append(UnitSpec(before, width, stride, index == 0, index == last))
            before = width
        return tuple(specs)

    def unit_groups(self) -> tuple[LayerGroup, ...]:
        """Consecutive equal units, counted from 1: 1, 2 to 4, 5, 6 and 7, 8, 9, 10 as published."""
        return group_equal_layers(self.units(), lambda unit: unit.preserves_shape, first=1)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The last unit, counted from 0, of each stage of equal widths: (3, 6, 9) as published."""
        last = len(self.widths) - 1
        return tuple(unit for unit in range(last) if self.widths[unit] != self.widths[unit + 1]) + (last,)


class GCNUnit(nn.Module):
    """Graph convolution, temporal convolution and residual; then the exchange with the class tokens, if any.

    The first unit has no residual. A network's own units define `graph_conv`, `temporal_conv` and `pointwise_conv`, and
    state the order of their arrays, whose axis 2 is that of the poses.
    """

    spec: Any
    unit: UnitSpec
    dtype: DTypeLike = jnp.float32

    channels_last: ClassVar[bool] = False
    """Whether arrays are (BP, V, T, D), or (D, BP, T, V)."""

    def graph_conv(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps D channels to D2."""
        raise NotImplementedError

    def temporal_conv(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps T poses to T2."""
        raise NotImplementedError

    def pointwise_conv(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        """1x1 convolution from D channels to D2, and norm."""
        raise NotImplementedError

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "BP G D_tokens"] | None, x: Float[Array, "_ _ T _"], train: bool
    ) -> tuple[Float[Array, "BP G D2"] | None, Float[Array, "_ _ T2 _"]]:
        """Maps tokens and joints to the unit's width; T2 = ceil(T / stride)."""
        unit = self.unit
        hidden = self.graph_conv(x, train)
        self.sow("intermediates", "graph_output", hidden)
        y = self.temporal_conv(hidden, train)
        self.sow("intermediates", "temporal_output", y)
        if not unit.is_first and unit.preserves_shape:
            y = y + x
        elif not unit.is_first:
            y = y + self.pointwise_conv(x[:, :, :: unit.stride], train, "residual")
        x = relu(y)
        if tokens is not None:
            exchange = SkeletonTokens(not unit.is_last, self.dtype, name="tokens")
            tokens, message = exchange.exchange(tokens, self.rows(x.mean(2)))
            if message is not None:
                message = message if self.channels_last else message.transpose(2, 0, 1)
                x = x + message[:, :, None]
        self.sow("intermediates", "unit_output", x)
        return tokens, x

    @classmethod
    def rows(cls, x: jax.Array) -> Float[Array, "BP V D"]:
        """Joints without their axis of poses, in one order for all networks."""
        return x if cls.channels_last else x.transpose(1, 2, 0)


class GCN(nn.Module):
    """A network of units.

    Attributes:
      spec: Shape of the network.
      unit_class: Its units.
      norm_per_person: Whether the input norm has statistics for each person.
      num_tokens: M, class tokens in one set; 0 for none: the output is then the pooled features.
      receiver: Adds a second set of M tokens, which receives another branch's knowledge in distillation.
      dtype: Dtype of the computation; parameters, statistics, softmax and the final norm are float32.
    """

    spec: GCNSpec
    unit_class: type[GCNUnit]
    norm_per_person: bool
    num_tokens: int = 0
    receiver: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, poses: Float[Array, "B T P V 3"], pose_valid: Bool[Array, "B T P"], train: bool) -> BranchOutput:
        """Applies the branch; arguments and result as in `hdgcn.HDGCN`.

        Raises:
          UserError: The number of joints is not the layout's.
        """
        num_clips, _, num_persons, num_joints, _ = poses.shape
        if num_joints != self.spec.graph.num_joints:
            raise UserError(
                f"skeleton layout {self.spec.layout} has {self.spec.graph.num_joints} joints, got poses {poses.shape}: "
                "convert them to this layout or change the spec's layout"
            )
        person_weight = person_weights(jnp.asarray(pose_valid))
        x = self._normalise_input(jnp.asarray(poses, at_least_float32(self.dtype)), train)
        num_tokens = self.num_tokens * (1 + self.receiver)
        tokens = initial_tokens(self.param, num_tokens, self.spec.widths[0], num_clips * num_persons, self.dtype)
        layers, units = [], self.spec.units()

        def body(unit: GCNUnit, carry: TokensAndJoints, _: None) -> tuple[TokensAndJoints, Any]:
            tokens, x = unit(*carry, train)
            x = constrain_clips(x, axis=0 if self.unit_class.channels_last else 1)
            return (tokens, x), None if tokens is None else mean_over_persons(tokens, person_weight)

        for group in self.spec.unit_groups():
            unit = self.unit_class(self.spec, units[group.first - 1], self.dtype, name=group.name("unit{:02d}"))
            (tokens, x), tokens_of_layers = scan_layers(body, unit, group, (tokens, x), None)
            layers += tokens_of_layers
        joints = self.unit_class.rows(x.mean(2, dtype=at_least_float32(self.dtype)))
        pooled = mean_over_persons(joints.mean(1, keepdims=True), person_weight).astype(self.dtype)
        joints = mean_over_persons(joints, person_weight).astype(self.dtype)
        if tokens is None:
            return BranchOutput((), (), pooled, features=joints)
        tokens = split_layers(layers, token_norm(self.dtype)(layers[-1]), self.num_tokens)
        return dataclasses.replace(tokens, features=joints)

    def _normalise_input(self, poses: jax.Array, train: bool) -> jax.Array:
        """Batch norm of the coordinates of every joint, and of every person if the network has it so.

        Returns:
          What the first unit takes, with 3 channels.
        """
        num_clips, num_frames, num_persons, num_joints, _ = poses.shape
        shape = (num_persons,) * self.norm_per_person + (num_joints, NUM_COORDINATES)
        norm = BatchNorm(shape, name="input_norm")
        x = norm(poses, tuple(range(-len(shape), 0)), train)
        self.sow("intermediates", "input_output", x)
        num_skeletons = num_clips * num_persons
        if self.unit_class.channels_last:
            x = x.transpose(0, 2, 3, 1, 4).reshape(num_skeletons, num_joints, num_frames, NUM_COORDINATES)
        else:
            x = x.transpose(4, 0, 2, 1, 3).reshape(NUM_COORDINATES, num_skeletons, num_frames, num_joints)
        return x.astype(self.dtype)
