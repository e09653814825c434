"""Hierarchically decomposed graph convolution of HD-GCN, with its attention over hierarchies (AHA).

Source: HD-GCN (Lee et al., ICCV 2023) and its published code. We run the 1x1 convolutions of the L hierarchies as one,
the 3 L subset convolutions as one batched product, before the product with the edge sets instead of after it (equal,
without transposes), and the L EdgeConvs as one with L groups. Channels lie on the leading axes, the batch on the last:
measured on XLA:CPU this is twice as fast as channels last, since widths are small, and no reshape mixes the batch with
another axis, so a sharded batch stays where it is.

Letters: C width, I = C' / 4, L hierarchies, V joints, T poses, N skeletons (clips times persons).
"""

from __future__ import annotations

import functools
import operator

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.channel_matmul import channel_matmul, mix_joints
from musclemap_jax.models.layers.layers import relu
from musclemap_jax.models.layers.maximum import max_over_axis
from musclemap_jax.models.skeleton.edge_conv import EdgeConv, fan_out_normal
from musclemap_jax.models.skeleton.graph import NUM_SUBSETS, SkeletonGraph

SCALE_AT_START = 1e-6
"""Scale of the last batch norm at the start: the convolution starts as its shortcut."""


@jax.custom_vjp
def sum_leading(x: jax.Array) -> jax.Array:
    """Sums over the leading, short axis by additions: XLA:CPU's reduction is 20 times slower there."""
    return functools.reduce(operator.add, [x[index] for index in range(x.shape[0])])


sum_leading.defvjp(
    lambda x: (sum_leading(x), x.shape[0]),
    lambda length, gradient: (jnp.broadcast_to(gradient[None], (length, *gradient.shape)),),
)


class PointwiseConv(nn.Module):
    """1x1 convolution and batch norm; its parameters are `kernel` (C, C'), `bias` and `norm`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (C, ...) to (C', ...); `train` as in BatchNorm."""
        shape = (x.shape[0], self.features)
        kernel = self.param("kernel", fan_out_normal(self.features), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        y = channel_matmul(kernel.astype(self.dtype), x)
        return BatchNorm((self.features,), name="norm")(y, (0,), train, bias)


def _uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """torch's default for convolutions and their biases: uniform in +-1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


class HierarchyAttention(nn.Module):
    """AHA: weights in (0, 1) for each skeleton, hierarchy and channel.

    Attributes:
      graph: the levels.
      num_neighbours: k of the EdgeConv over hierarchies.
      dtype: dtype of the computation.
    """

    graph: SkeletonGraph
    num_neighbours: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, peaks: jax.Array, train: bool) -> jax.Array:
        """Maps maxima over time (C, L, V, N) to weights (N, L, C); `train` as in BatchNorm."""
        width = peaks.shape[0]
        reduced = relu(PointwiseConv(width // 4, self.dtype, name="down")(peaks, train))
        level_mean = jnp.asarray(self.graph.level_mean(), self.dtype)
        sampled = jnp.einsum("lv,clvn->nlc", level_mean, reduced)
        edge = EdgeConv(width // 4, self.num_neighbours, self.dtype, name="edge")
        mixed = edge(sampled[:, None], train)[:, 0]
        uniform = _uniform_fan_in(width // 4)
        aggregate = nn.Dense(width, dtype=self.dtype, kernel_init=uniform, bias_init=uniform, name="aggregate")
        return nn.sigmoid(aggregate(mixed))


class HierarchicalGraphConv(nn.Module):
    """Graph convolution over the edge sets of all hierarchies, with a shortcut and a relu.

    Attributes:
      graph: the levels; its edge sets are where the learned ones start.
      features: C', a multiple of 4.
      attention: True weighs the hierarchies by AHA, False sums them.
      joint_neighbours: k of the EdgeConv over joints.
      hierarchy_neighbours: k of AHA's EdgeConv.
      dtype: dtype of the computation.
    """

    graph: SkeletonGraph
    features: int
    attention: bool = True
    joint_neighbours: int = 5
    hierarchy_neighbours: int = 3
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (C, V, T, N) to (C', V, T, N); `train` as in BatchNorm."""
        inner = self.features // (NUM_SUBSETS + 1)
        hidden = self._reduce(x, inner, train)
        subsets = self._subsets(hidden, inner, train)
        edge = EdgeConv(inner, self.joint_neighbours, self.dtype, name="edge")
        edges = edge(hidden.mean(3).transpose(3, 0, 2, 1), train).transpose(1, 3, 2, 0)  # (L, I, V, N)
        y = self._join(subsets, edges, train)
        y = BatchNorm((self.features,), nn.initializers.constant(SCALE_AT_START), name="norm")(y, (0,), train)
        shortcut = x
        if x.shape[0] != self.features:
            shortcut = PointwiseConv(self.features, self.dtype, name="shortcut")(x, train)
        return relu(y + shortcut)

    def _reduce(self, x: jax.Array, inner: int, train: bool) -> jax.Array:
        """1x1 convolution, norm and relu of every hierarchy: (C, V, T, N) to (L, I, V, T, N)."""
        num_hierarchies = self.graph.num_hierarchies
        shape = (num_hierarchies, x.shape[0], inner)
        kernel = self.param("down_kernel", fan_out_normal(inner), shape, jnp.float32).astype(self.dtype)
        bias = self.param("down_bias", nn.initializers.zeros, (num_hierarchies, inner), jnp.float32)
        together = kernel.swapaxes(0, 1).reshape(x.shape[0], num_hierarchies * inner)
        hidden = channel_matmul(together, x).reshape(num_hierarchies, inner, *x.shape[1:])
        return relu(BatchNorm((num_hierarchies, inner), name="down_norm")(hidden, (0, 1), train, bias))

    def _subsets(self, hidden: jax.Array, inner: int, train: bool) -> jax.Array:
        """1x1 convolutions and products with the edge sets: (L, I, V, T, N) to (L, 3, I, V, T, N)."""
        num_hierarchies = self.graph.num_hierarchies
        edges = self.param("adjacency", lambda _: jnp.asarray(self.graph.adjacency())).astype(self.dtype)
        shape = (num_hierarchies, NUM_SUBSETS, inner, inner)
        kernel = self.param("subset_kernel", fan_out_normal(inner), shape, jnp.float32).astype(self.dtype)
        bias = self.param("subset_bias", nn.initializers.zeros, (*shape[:2], inner), jnp.float32)
        together = kernel.swapaxes(1, 2).reshape(num_hierarchies, inner, NUM_SUBSETS * inner)
        mixed = channel_matmul(together, hidden).reshape(-1, inner, *hidden.shape[2:])
        y = mix_joints(edges.reshape(-1, *edges.shape[2:]), mixed).reshape(*shape[:3], *hidden.shape[2:])
        return BatchNorm((*shape[:2], inner), name="subset_norm")(y, (0, 1, 2), train, bias)

    def _join(self, subsets: jax.Array, edges: jax.Array, train: bool) -> jax.Array:
        """Joins [identity, forward, reverse, edge] and sums over hierarchies.

        Args:
          subsets: (L, 3, I, V, T, N).
          edges: (L, I, V, N), the same at every time step.
          train: as in BatchNorm.

        Returns:
          (C', V, T, N).
        """
        num_hierarchies, _, inner, num_joints, num_frames, num_skeletons = subsets.shape
        if self.attention:
            peaks = jnp.concatenate([max_over_axis(subsets, 4), edges[:, None]], axis=1)
            peaks = peaks.reshape(num_hierarchies, self.features, num_joints, num_skeletons).swapaxes(0, 1)
            attention = HierarchyAttention(self.graph, self.hierarchy_neighbours, self.dtype, name="attention")
            weights = attention(peaks, train).transpose(1, 2, 0)
            weights = weights.reshape(num_hierarchies, NUM_SUBSETS + 1, inner, 1, num_skeletons)
            edges = edges * weights[:, -1]
            subsets = subsets * weights[:, :-1, :, :, None]
        subset_sum = sum_leading(subsets).reshape(-1, num_joints, num_frames, num_skeletons)
        edge_sum = jnp.broadcast_to(sum_leading(edges)[:, :, None], (inner, *subset_sum.shape[1:]))
        return jnp.concatenate([subset_sum, edge_sum], axis=0)
