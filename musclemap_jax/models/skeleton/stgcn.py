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
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.conv1d import conv1d
from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.initializers import fan_in_uniform, fan_out_normal
from musclemap_jax.models.layers.linear import flattened_dot_general
from musclemap_jax.models.skeleton.gcn import GCN, GCNSpec, GCNUnit
from musclemap_jax.models.skeleton.spatial_graph import NUM_SUBSETS, SpatialGraph


@dataclasses.dataclass(frozen=True)
class STGCNSpec(GCNSpec):
    """Shape of the network, as in GCNSpec.

    Attributes:
      kernel_size: The number of taps of the temporal convolutions, odd.
    """

    kernel_size: int = 9


def channels_matmul(x: Float[Array, "*rows D"], kernel: Float[Array, "D D2"]) -> Float[Array, "*rows D2"]:
    """Maps the channels of every row."""
    return flattened_dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))


@jax.custom_vjp
def joints_matmul(x: Float[Array, "BP V T D"], edges: Float[Array, "V V2"]) -> Float[Array, "BP V2 T D"]:
    """Sums over the source joints of [source, target] edges: one product a skeleton, with the edges repeated.

    The gradient is written out so that no large operand is transposed, as in channel_matmul.py.
    """
    repeated = jnp.broadcast_to(edges, (x.shape[0], *edges.shape))
    y = jnp.einsum("nvw,nvx->nwx", repeated, _joint_rows(x))
    return y.reshape(x.shape[0], -1, *x.shape[2:])


def _joint_rows(x: Float[Array, "BP V T D"]) -> Float[Array, "BP V TD"]:
    return x.reshape(*x.shape[:2], -1)


def _joints_backward(operands, gradient):
    x, edges = operands
    d_edges = jnp.einsum("nvx,nwx->nvw", _joint_rows(x), _joint_rows(gradient)).sum(0)
    return joints_matmul(gradient, edges.T), d_edges


joints_matmul.defvjp(lambda x, edges: (joints_matmul(x, edges), (x, edges)), _joints_backward)


class WeightedGraphConv(nn.Module):
    """Convolution over the three edge sets, each edge with a learned weight; norm and relu."""

    graph: SpatialGraph
    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "BP V T D"], train: bool) -> Float[Array, "BP V T D2"]:
        """Applies the convolution; `train` as in BatchNorm."""
        width, num_joints = x.shape[-1], self.graph.num_joints
        uniform = fan_in_uniform(width)  # PyTorch's, which pyskl keeps
        kernel = self.param("kernel", uniform, (width, NUM_SUBSETS, self.features), jnp.float32)
        bias = self.param("bias", uniform, (NUM_SUBSETS, self.features), jnp.float32)
        weights = self.param("edge_weights", nn.initializers.ones, (NUM_SUBSETS, num_joints, num_joints), jnp.float32)
        edges = (jnp.asarray(self.graph.by_distance()) * weights).astype(self.dtype)
        kernel = kernel.astype(self.dtype)
        # pyskl maps the channels first. Edges first: a unit that widens has narrow products with the edges.
        gathered = [channels_matmul(joints_matmul(x, edges[k]), kernel[:, k]) for k in range(NUM_SUBSETS)]
        # The bias of a subset reaches a joint by all edges that lead there.
        from_bias = jnp.einsum("kd,kuv->vd", bias.astype(self.dtype), edges)
        y = functools.reduce(operator.add, gathered) + from_bias[None, :, None]
        return relu(BatchNorm((self.features,), name="norm")(y, (-1,), train))


class TemporalConv(nn.Module):
    """Convolution over time and norm."""

    features: int
    kernel_size: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "BP V T D"], train: bool) -> Float[Array, "BP V T2 D2"]:
        """Applies the convolution; `train` as in BatchNorm; T2 = ceil(T / stride)."""
        uniform = fan_in_uniform(x.shape[-1] * self.kernel_size)
        kernel = self.param("kernel", uniform, (self.kernel_size, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", uniform, (self.features,), jnp.float32)
        y = conv1d(x.reshape(-1, *x.shape[2:]), kernel.astype(self.dtype), self.stride)
        return BatchNorm((self.features,), name="norm")(y.reshape(*x.shape[:2], *y.shape[1:]), (-1,), train, bias)


class ChannelsLastConv(nn.Module):
    """`hierarchical_conv.PointwiseConv` with channels last."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*positions D"], train: bool) -> Float[Array, "*positions D2"]:
        """Applies convolution and norm; `train` as in BatchNorm."""
        kernel = self.param("kernel", fan_out_normal(self.features), (x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        y = channels_matmul(x, kernel.astype(self.dtype))
        return BatchNorm((self.features,), name="norm")(y, (-1,), train, bias)


class STGCNUnit(GCNUnit):
    """A unit of ST-GCN; arrays are (BP, V, T, D), as XLA's convolution over time wants them."""

    channels_last = True

    def graph_conv(self, x: jax.Array, train: bool) -> jax.Array:
        return WeightedGraphConv(self.spec.graph, self.unit.features, self.dtype, name="graph")(x, train)

    def temporal_conv(self, x: jax.Array, train: bool) -> jax.Array:
        conv = TemporalConv(self.unit.features, self.spec.kernel_size, self.unit.stride, self.dtype, name="temporal")
        return conv(x, train)

    def pointwise_conv(self, x: jax.Array, train: bool, name: str) -> jax.Array:
        return ChannelsLastConv(self.unit.features, self.dtype, name=name)(x, train)


def make_stgcn(spec: STGCNSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, name: str | None = None) -> GCN:
    """The network; arguments as in `GCN`."""
    return GCN(spec, STGCNUnit, False, num_tokens, receiver, dtype, name=name)
