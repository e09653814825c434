"""ST-GCN, a skeleton branch.

Source: ST-GCN (arXiv:1801.07455) as in pyskl (`pyskl/models/gcns/stgcn.py`), which it equals without class tokens and
with all persons present. The input norm shares its statistics between persons. gcn.py has what is ours.

Letters of shapes: BP skeletons (clips times persons), T poses, V joints, D width; 2 marks the output.
"""

from __future__ import annotations

import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.channel_matmul import channel_matmul
from musclemap_jax.models.layers.initializers import fan_in_uniform
from musclemap_jax.models.skeleton.gcn import GCN, GCNSpec, GCNUnit
from musclemap_jax.models.skeleton.spatial_graph import NUM_SUBSETS, SpatialGraph
from musclemap_jax.models.skeleton.temporal_conv import temporal_conv


@dataclasses.dataclass(frozen=True)
class STGCNSpec(GCNSpec):
    """Shape of the network, as in GCNSpec.

    Attributes:
      kernel_size: The number of taps of the temporal convolutions, odd.
    """

    kernel_size: int = 9


class WeightedGraphConv(nn.Module):
    """Convolution over the three edge sets, each edge with a learned weight; norm and relu."""

    graph: SpatialGraph
    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "D BP T V"], train: bool) -> Float[Array, "D2 BP T V"]:
        """Applies the convolution; `train` as in BatchNorm."""
        width, num_joints = x.shape[0], self.graph.num_joints
        uniform = fan_in_uniform(width)  # PyTorch's, which pyskl keeps
        kernel = self.param("kernel", uniform, (width, NUM_SUBSETS, self.features), jnp.float32)
        bias = self.param("bias", uniform, (NUM_SUBSETS, self.features), jnp.float32)
        weights = self.param("edge_weights", nn.initializers.ones, (NUM_SUBSETS, num_joints, num_joints), jnp.float32)
        edges = (jnp.asarray(self.graph.by_distance()) * weights).astype(self.dtype)
        hidden = channel_matmul(kernel.reshape(width, -1).astype(self.dtype), x)
        hidden = hidden.reshape(NUM_SUBSETS, self.features, *x.shape[1:])
        gathered = [joints_matmul(hidden[subset], edges[subset]) for subset in range(NUM_SUBSETS)]
        # The bias of a subset reaches a joint by all edges that lead there.
        from_bias = jnp.einsum("kd,kuv->dv", bias.astype(self.dtype), edges)
        y = functools.reduce(operator.add, gathered) + from_bias[:, None, None]
        return relu(BatchNorm((self.features,), name="norm")(y, (0,), train))


@jax.custom_vjp
def joints_matmul(x: Float[Array, "D BP T V"], edges: Float[Array, "V V2"]) -> Float[Array, "D BP T V2"]:
    """Product of the joints with [source, target] edges, which all channels share: one product of rows.

    The gradient is written out so that no large operand is transposed, as in channel_matmul.py.
    """
    return lax.dot_general(x, edges, (((3,), (0,)), ((), ())))


def _joints_backward(operands, gradient):
    x, edges = operands
    rows = (0, 1, 2)
    d_edges = lax.dot_general(x, gradient, ((rows, rows), ((), ())))
    return lax.dot_general(gradient, edges, (((3,), (1,)), ((), ()))), d_edges


joints_matmul.defvjp(lambda x, edges: (joints_matmul(x, edges), (x, edges)), _joints_backward)


class TemporalConv(nn.Module):
    """Convolution over time and norm."""

    features: int
    kernel_size: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "D BP T V"], train: bool) -> Float[Array, "D2 BP T2 V"]:
        """Applies the convolution; `train` as in BatchNorm."""
        uniform = fan_in_uniform(x.shape[0] * self.kernel_size)
        kernel = self.param("kernel", uniform, (self.kernel_size, x.shape[0], self.features), jnp.float32)
        bias = self.param("bias", uniform, (self.features,), jnp.float32)
        convolve = jax.checkpoint(temporal_conv, prevent_cse=False, static_argnums=(2, 3))
        y = convolve(x, kernel.astype(self.dtype), self.stride, 1)
        return BatchNorm((self.features,), name="norm")(y, (0,), train, bias)


class STGCNUnit(GCNUnit):
    """A unit of ST-GCN."""

    def graph_conv(self, x: jax.Array, train: bool) -> jax.Array:
        return WeightedGraphConv(self.spec.graph, self.unit.features, self.dtype, name="graph")(x, train)

    def temporal_conv(self, x: jax.Array, train: bool) -> jax.Array:
        conv = TemporalConv(self.unit.features, self.spec.kernel_size, self.unit.stride, self.dtype, name="temporal")
        return conv(x, train)


def make_stgcn(spec: STGCNSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, name: str | None = None) -> GCN:
    """The network; arguments as in `GCN`."""
    return GCN(spec, STGCNUnit, False, num_tokens, receiver, dtype, name=name)
