"""CTR-GCN, a skeleton branch.

Source: CTR-GCN (arXiv:2107.12213, section 3) and its published conventions, pyskl's (`pyskl/models/gcns/ctrgcn.py`) and
the authors', both of which it equals without class tokens and with all persons present. For each subset k of edges

    G_k = alpha * conv4(tanh(conv1(mean over T of x)_v - conv2(mean over T of x)_u)) + A_k,
    y_v = sum over k and u of G_k[v, u] conv3(x)_u

as the authors have it. pyskl has u and v of G exchanged, which is the same with conv1 and conv2 exchanged, conv4
negated (tanh is odd) and A transposed: its weights are so changed on import (pretrained/ctrgcn_names.py). pyskl applies
a relu after the temporal convolution, the authors do not. gcn.py has what is ours.

Letters of shapes: BP skeletons (clips times persons), T poses, V joints, D width, R width of the relations, k subsets;
2 marks the output.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.channel_matmul import channel_matmul
from musclemap_jax.models.layers.initializers import fan_out_normal
from musclemap_jax.models.skeleton.gcn import GCN, GCNSpec, GCNUnit
from musclemap_jax.models.skeleton.hdgcn import UnitSpec
from musclemap_jax.models.skeleton.hierarchical_conv import INITIAL_SCALE, PointwiseConv, sum_leading_axis
from musclemap_jax.models.skeleton.spatial_graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES, MultiScaleTemporalConv

CONVENTIONS = ("pyskl", "authors")
SMALLEST_RELATION, REDUCTION = 8, 8


@dataclasses.dataclass(frozen=True)
class CTRGCNSpec(GCNSpec):
    """Shape of the network, as in GCNSpec; widths are multiples of 4.

    Attributes:
      convention: Whose code the network equals, `pyskl` or `authors`.
    """

    convention: str = "pyskl"

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise UserError(f"CTRGCNSpec.convention: expected one of {', '.join(CONVENTIONS)}, got {self.convention!r}")
        super().__post_init__()

    @property
    def width_multiple(self) -> int:
        return NUM_BRANCHES

    @property
    def graph_name(self) -> str:
        return "ntu25_ctrgcn" if (self.layout, self.convention) == ("ntu25", "authors") else self.layout

    def adjacency(self) -> Float[np.ndarray, "3 V V"]:
        """Initial edges A[subset, target, source]; the conventions read the same array in both directions."""
        edges = self.graph.directed()
        return edges if self.convention == "authors" else np.ascontiguousarray(edges.swapaxes(1, 2))

    def relation_width(self, width: int) -> int:
        """R for an input of a width."""
        if self.convention == "authors":
            return SMALLEST_RELATION if width in (3, 9) else max(width // REDUCTION, 1)
        return SMALLEST_RELATION if width <= 16 else width // REDUCTION


class RefinedGraphConv(nn.Module):
    """Convolution over edges that are refined for every channel and skeleton; norm, shortcut and relu."""

    spec: CTRGCNSpec
    unit: UnitSpec
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "D BP T V"], train: bool) -> Float[Array, "D2 BP T V"]:
        """Applies the convolution; `train` as in BatchNorm."""
        width, features = x.shape[0], self.unit.features
        kernel = self.param("value_kernel", fan_out_normal(features), (NUM_SUBSETS, width, features), jnp.float32)
        bias = self.param("value_bias", nn.initializers.zeros, (NUM_SUBSETS, features), jnp.float32)
        kernel = kernel.swapaxes(0, 1).reshape(width, -1).astype(self.dtype)
        values = channel_matmul(kernel, x) + bias.astype(self.dtype).reshape(-1, 1, 1, 1)
        values = values.reshape(NUM_SUBSETS, features, *x.shape[1:])
        self.sow("intermediates", "values", values)
        y = sum_leading_axis(jnp.einsum("kdntu,kdnvu->kdntv", values, self._edges(x)))
        y = BatchNorm((features,), nn.initializers.constant(INITIAL_SCALE), name="norm")(y, (0,), train)
        if width != features:
            x = PointwiseConv(features, self.dtype, name="shortcut")(x, train)
        return relu(y + x)

    def _edges(self, x: jax.Array) -> Float[Array, "k D2 BP V V"]:
        """The refined edges [subset, channel, skeleton, target, source]."""
        width, features, relation = x.shape[0], self.unit.features, self.spec.relation_width(x.shape[0])
        shape = (2, NUM_SUBSETS, width, relation)
        kernel = self.param("relation_kernel", fan_out_normal(relation), shape, jnp.float32)
        bias = self.param("relation_bias", nn.initializers.zeros, (2, NUM_SUBSETS, relation), jnp.float32)
        shape = (NUM_SUBSETS, relation, features)
        refine = self.param("refine_kernel", fan_out_normal(features), shape, jnp.float32)
        refine_bias = self.param("refine_bias", nn.initializers.zeros, (NUM_SUBSETS, features), jnp.float32)
        alpha = self.param("alpha", nn.initializers.zeros, (1,), jnp.float32)[0]
        adjacency = self.param("adjacency", lambda _: jnp.asarray(self.spec.adjacency()))

        kernel = jnp.moveaxis(kernel, 2, 0).reshape(width, -1).astype(self.dtype)
        related = channel_matmul(kernel, x.mean(2)).reshape(*bias.shape, *x.shape[1::2])
        target, source = related + bias.astype(self.dtype)[..., None, None]
        relations = jnp.tanh(target[..., :, None] - source[..., None, :])  # (k, R, BP, V, V)
        # alpha is in the small arrays, so that no pass over the edges multiplies by it.
        refined = channel_matmul((alpha * refine).astype(self.dtype), relations)
        constant = (alpha * refine_bias)[:, :, None, None, None] + adjacency[:, None, None]
        return refined + constant.astype(self.dtype)


class CTRGCNUnit(GCNUnit):
    """A unit of CTR-GCN; arrays are (D, BP, T, V), as every channel has its own edges."""

    def graph_conv(self, x: jax.Array, train: bool) -> jax.Array:
        return RefinedGraphConv(self.spec, self.unit, self.dtype, name="graph")(x, train)

    def temporal_conv(self, x: jax.Array, train: bool) -> jax.Array:
        y = MultiScaleTemporalConv(self.unit.stride, dtype=self.dtype, name="temporal")(x, train)
        return relu(y) if self.spec.convention == "pyskl" else y

    def pointwise_conv(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        return PointwiseConv(self.unit.features, self.dtype, name=name)(x, train)


def make_ctrgcn(spec: CTRGCNSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, name: str | None = None) -> GCN:
    """The network; arguments as in `GCN`."""
    return GCN(spec, CTRGCNUnit, True, num_tokens, receiver, dtype, name=name)
