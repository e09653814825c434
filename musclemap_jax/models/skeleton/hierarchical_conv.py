"""Hierarchically decomposed graph convolution of HD-GCN, with its attention over hierarchies (AHA).

Source: HD-GCN (Lee et al., ICCV 2023) and its published code. We run the 1x1 convolutions of the L hierarchies as one,
the 3 L subset convolutions as one batched product, before the product with the edge sets instead of after it (equal,
without transposes), and the L EdgeConvs as one with L groups. Channels are the leading axes and the batch the last:
measured on XLA:CPU this is twice as fast as channels last, since widths are small, and no reshape mixes the batch with
another axis, so a sharded batch stays in place. The input may end with channels of additional streams (streams.py),
which have weights of their own beside the published ones.

Letters of shapes: D width, D2 width of the output, I = D2 / 4, L hierarchies, V joints, T poses, BP skeletons (clips
times persons).
"""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.channel_matmul import channel_matmul, joint_matmul
from musclemap_jax.models.layers.initializers import Initializer, fan_in_uniform, fan_out_normal
from musclemap_jax.models.layers.robust_max import robust_max
from musclemap_jax.models.skeleton.edge_conv import EdgeConv
from musclemap_jax.models.skeleton.graph import NUM_SUBSETS, SkeletonGraph

INITIAL_SCALE = 1e-6
"""Initial scale of the last batch norm: the convolution starts as its shortcut."""


@jax.custom_vjp
def sum_leading_axis(x: Float[Array, " _ *rest"]) -> Float[Array, "*rest"]:
    """Sums over the short leading axis by additions: XLA:CPU's reduction is 20 times slower there."""
    return functools.reduce(operator.add, [x[index] for index in range(x.shape[0])])


sum_leading_axis.defvjp(
    lambda x: (sum_leading_axis(x), x.shape[0]),
    lambda length, gradient: (jnp.broadcast_to(gradient[None], (length, *gradient.shape)),),
)


Streams = tuple[tuple[str, int], ...]
"""(name, number of channels) of each additional input stream."""


def num_channels(streams: Streams) -> int:
    """The number of channels of all streams together."""
    return sum(channels for _, channels in streams)


def input_kernel(
    module: nn.Module, name: str, init: Initializer, shape: tuple[int, ...], streams: Streams
) -> Float[Array, "*groups D D2"]:
    """A kernel of the given shape and, below it, rows for the additional streams, which start at zero.

    They are parameters of their own, `stream_<stream>_<name>`, so that the first keeps the shape of the published one.
    """
    kernels = [module.param(name, init, shape, jnp.float32)]
    for stream, width in streams:
        rows = (*shape[:-2], width, shape[-1])
        kernels.append(module.param(f"stream_{stream}_{name}", nn.initializers.zeros, rows, jnp.float32))
    return jnp.concatenate(kernels, axis=-2) if streams else kernels[0]


class PointwiseConv(nn.Module):
    """1x1 convolution and batch norm; its parameters are `kernel` (D, D2), `bias` and `norm`."""

    features: int
    dtype: DTypeLike = jnp.float32
    streams: Streams = ()

    @nn.compact
    def __call__(self, x: Float[Array, " D *positions"], train: bool) -> Float[Array, " D2 *positions"]:
        """Applies convolution and norm; `train` as in BatchNorm."""
        shape = (x.shape[0] - num_channels(self.streams), self.features)
        kernel = input_kernel(self, "kernel", fan_out_normal(self.features), shape, self.streams)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        y = channel_matmul(kernel.astype(self.dtype), x)
        return BatchNorm((self.features,), name="norm")(y, (0,), train, bias)


class HierarchyAttention(nn.Module):
    """AHA: weights in (0, 1) for each skeleton, hierarchy and channel."""

    graph: SkeletonGraph
    num_neighbours: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, peaks: Float[Array, "D L V BP"], train: bool) -> Float[Array, "BP L D"]:
        """Maps maxima over time to weights; `train` as in BatchNorm."""
        width = peaks.shape[0]
        reduced = relu(PointwiseConv(width // 4, self.dtype, name="down")(peaks, train))
        level_mean = jnp.asarray(self.graph.level_mean(), self.dtype)
        sampled = jnp.einsum("lv,clvn->nlc", level_mean, reduced)
        edge = EdgeConv(width // 4, self.num_neighbours, self.dtype, name="edge")
        mixed = edge(sampled[:, None], train)[:, 0]
        uniform = fan_in_uniform(width // 4)
        aggregate = nn.Dense(width, dtype=self.dtype, kernel_init=uniform, bias_init=uniform, name="aggregate")
        return nn.sigmoid(aggregate(mixed))


class HierarchicalGraphConv(nn.Module):
    """Graph convolution over the edge sets of all hierarchies, with a shortcut and a relu.

    Attributes:
      graph: The levels; its edge sets initialise the learned ones.
      features: Width of the output, a multiple of 4.
      attention: True weights the hierarchies by AHA, False sums them.
      joint_neighbours: Neighbours in the EdgeConv over joints; `hierarchy_neighbours` is AHA's.
      streams: Additional input streams, the last channels of the input.
    """

    graph: SkeletonGraph
    features: int
    attention: bool = True
    joint_neighbours: int = 5
    hierarchy_neighbours: int = 3
    dtype: DTypeLike = jnp.float32
    streams: Streams = ()

    @nn.compact
    def __call__(self, x: Float[Array, "D V T BP"], train: bool) -> Float[Array, "D2 V T BP"]:
        """Applies the convolution; `train` as in BatchNorm."""
        inner = self.features // (NUM_SUBSETS + 1)
        hidden = self._reduce(x, inner, train)
        subsets = self._subsets(hidden, inner, train)
        edge = EdgeConv(inner, self.joint_neighbours, self.dtype, name="edge")
        edges = edge(hidden.mean(3).transpose(3, 0, 2, 1), train).transpose(1, 3, 2, 0)  # (L, I, V, BP)
        y = self._combine(subsets, edges, train)
        y = BatchNorm((self.features,), nn.initializers.constant(INITIAL_SCALE), name="norm")(y, (0,), train)
        width = x.shape[0] - num_channels(self.streams)
        if width != self.features:
            return relu(y + PointwiseConv(self.features, self.dtype, self.streams, name="shortcut")(x, train))
        return relu(y + x[:width])

    def _reduce(self, x: jax.Array, inner: int, train: bool) -> jax.Array:
        """1x1 convolution, norm and relu of every hierarchy: (D, V, T, BP) to (L, I, V, T, BP)."""
        num_hierarchies = self.graph.num_hierarchies
        shape = (num_hierarchies, x.shape[0] - num_channels(self.streams), inner)
        kernel = input_kernel(self, "down_kernel", fan_out_normal(inner), shape, self.streams).astype(self.dtype)
        bias = self.param("down_bias", nn.initializers.zeros, (num_hierarchies, inner), jnp.float32)
        joint_kernel = kernel.swapaxes(0, 1).reshape(x.shape[0], num_hierarchies * inner)
        hidden = channel_matmul(joint_kernel, x).reshape(num_hierarchies, inner, *x.shape[1:])
        return relu(BatchNorm((num_hierarchies, inner), name="down_norm")(hidden, (0, 1), train, bias))

    def _subsets(self, hidden: jax.Array, inner: int, train: bool) -> jax.Array:
        """1x1 convolutions and products with the edge sets: (L, I, V, T, BP) to (L, 3, I, V, T, BP)."""
        num_hierarchies = self.graph.num_hierarchies
        edges = self.param("adjacency", lambda _: jnp.asarray(self.graph.adjacency())).astype(self.dtype)
        shape = (num_hierarchies, NUM_SUBSETS, inner, inner)
        kernel = self.param("subset_kernel", fan_out_normal(inner), shape, jnp.float32).astype(self.dtype)
        bias = self.param("subset_bias", nn.initializers.zeros, (*shape[:2], inner), jnp.float32)
        joint_kernel = kernel.swapaxes(1, 2).reshape(num_hierarchies, inner, NUM_SUBSETS * inner)
        mixed = channel_matmul(joint_kernel, hidden).reshape(-1, inner, *hidden.shape[2:])
        y = joint_matmul(edges.reshape(-1, *edges.shape[2:]), mixed).reshape(*shape[:3], *hidden.shape[2:])
        return BatchNorm((*shape[:2], inner), name="subset_norm")(y, (0, 1, 2), train, bias)

    def _combine(self, subsets: jax.Array, edges: jax.Array, train: bool) -> jax.Array:
        """Concatenates [identity, forward, reverse, edge] and sums over hierarchies, which gives (D2, V, T, BP).

        `subsets` are (L, 3, I, V, T, BP), `edges` (L, I, V, BP), the same at every time step.
        """
        num_hierarchies, _, inner, num_joints, num_frames, num_skeletons = subsets.shape
        if self.attention:
            peaks = jnp.concatenate([robust_max(subsets, 4), edges[:, None]], axis=1)
            peaks = peaks.reshape(num_hierarchies, self.features, num_joints, num_skeletons).swapaxes(0, 1)
            attention = HierarchyAttention(self.graph, self.hierarchy_neighbours, self.dtype, name="attention")
            weights = attention(peaks, train).transpose(1, 2, 0)
            weights = weights.reshape(num_hierarchies, NUM_SUBSETS + 1, inner, 1, num_skeletons)
            edges = edges * weights[:, -1]
            subsets = subsets * weights[:, :-1, :, :, None]
        subset_sum = sum_leading_axis(subsets).reshape(-1, num_joints, num_frames, num_skeletons)
        edge_sum = jnp.broadcast_to(sum_leading_axis(edges)[:, :, None], (inner, *subset_sum.shape[1:]))
        return jnp.concatenate([subset_sum, edge_sum], axis=0)
