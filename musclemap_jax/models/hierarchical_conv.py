"""Hierarchically decomposed graph convolution of HD-GCN, with its attention over hierarchies (AHA).

Source: HD-GCN (Lee et al., ICCV 2023) and its published code. We run the 1x1 convolutions of the L hierarchies as one,
the 3 L subset convolutions as one batched product and the L EdgeConvs as one with L groups. Joints lie on the leading
axis: the product with the edge sets is then one large matrix product a hierarchy.

Letters: V joints, N skeletons (clips times persons), T poses, C width, I = C' / 4, L hierarchies.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.batch_norm import BatchNorm
from musclemap_jax.models.edge_conv import EdgeConv, fan_out_normal
from musclemap_jax.models.graph import NUM_SUBSETS, SkeletonGraph

SCALE_AT_START = 1e-6
"""Scale of the last batch norm at the start: the convolution starts as its shortcut."""


class PointwiseConv(nn.Module):
    """1x1 convolution and batch norm; its parameters are `kernel` (C, C'), `bias` and `norm`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (..., C) to (..., C'); `train` as in BatchNorm."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", fan_out_normal(self.features), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return BatchNorm((self.features,), name="norm")(x @ kernel.astype(self.dtype), (-1,), train, bias)


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
        """Maps maxima over time (N, L, V, C) to weights (N, L, C); `train` as in BatchNorm."""
        width = peaks.shape[-1]
        reduced = nn.relu(PointwiseConv(width // 4, self.dtype, name="down")(peaks, train))
        level_mean = jnp.asarray(self.graph.level_mean(), self.dtype)
        sampled = jnp.einsum("lv,nlvc->nlc", level_mean, reduced)
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
        """Maps (V, N, T, C) to (V, N, T, C'); `train` as in BatchNorm."""
        inner = self.features // (NUM_SUBSETS + 1)
        hidden = self._reduce(x, inner, train)
        subsets = self._subsets(hidden, inner, train)
        edge = EdgeConv(inner, self.joint_neighbours, self.dtype, name="edge")
        edges = edge(hidden.mean(3).transpose(2, 0, 1, 3), train)  # (N, L, V, I)
        y = self._join(subsets, edges, train)
        y = BatchNorm((self.features,), nn.initializers.constant(SCALE_AT_START), name="norm")(y, (-1,), train)
        shortcut = x
        if x.shape[-1] != self.features:
            shortcut = PointwiseConv(self.features, self.dtype, name="shortcut")(x, train)
        return nn.relu(y + shortcut)

    def _reduce(self, x: jax.Array, inner: int, train: bool) -> jax.Array:
        """1x1 convolution, norm and relu of every hierarchy: (V, N, T, C) to (L, V, N, T, I)."""
        num_hierarchies = self.graph.num_hierarchies
        shape = (num_hierarchies, x.shape[-1], inner)
        kernel = self.param("down_kernel", fan_out_normal(inner), shape, jnp.float32).astype(self.dtype)
        bias = self.param("down_bias", nn.initializers.zeros, (num_hierarchies, inner), jnp.float32)
        hidden = jnp.einsum("vntc,lci->vntli", x, kernel)
        hidden = BatchNorm((num_hierarchies, inner), name="down_norm")(hidden, (-2, -1), train, bias)
        return nn.relu(hidden).transpose(3, 0, 1, 2, 4)

    def _subsets(self, hidden: jax.Array, inner: int, train: bool) -> jax.Array:
        """Products with the edge sets and their 1x1 convolutions: (L, V, N, T, I) to (L, 3, V, N, T, I)."""
        num_hierarchies = self.graph.num_hierarchies
        edges = self.param("adjacency", lambda _: jnp.asarray(self.graph.adjacency()))
        shape = (num_hierarchies, NUM_SUBSETS, inner, inner)
        kernel = self.param("subset_kernel", fan_out_normal(inner), shape, jnp.float32)
        bias = self.param("subset_bias", nn.initializers.zeros, (*shape[:2], inner), jnp.float32)
        gathered = jnp.einsum("lsvu,luntj->lsvntj", edges.astype(self.dtype), hidden)
        y = jnp.einsum("lsvntj,lsji->lsvnti", gathered, kernel.astype(self.dtype))
        return BatchNorm((*shape[:2], inner), name="subset_norm")(y, (0, 1, -1), train, bias)

    def _join(self, subsets: jax.Array, edges: jax.Array, train: bool) -> jax.Array:
        """Joins [identity, forward, reverse, edge] and sums over hierarchies.

        Args:
          subsets: (L, 3, V, N, T, I).
          edges: (N, L, V, I), the same at every time step.
          train: as in BatchNorm.

        Returns:
          (V, N, T, C').
        """
        num_hierarchies, _, num_joints, num_skeletons, num_frames, inner = subsets.shape
        if not self.attention:
            edge_sum = edges.sum(1)
            subset_sum = subsets.sum(0)
        else:
            subsets = jax.lax.optimization_barrier(subsets)
            peaks = subsets.max(4).transpose(3, 0, 2, 1, 4).reshape(num_skeletons, num_hierarchies, num_joints, -1)
            peaks = jnp.concatenate([peaks, edges], axis=-1)
            attention = HierarchyAttention(self.graph, self.hierarchy_neighbours, self.dtype, name="attention")
            weights = attention(peaks, train).reshape(num_skeletons, num_hierarchies, NUM_SUBSETS + 1, inner)
            edge_sum = (edges * weights[:, :, None, -1]).sum(1)
            of_subsets = weights[:, :, :-1].transpose(1, 2, 0, 3)[:, :, None, :, None, :]
            subset_sum = (subsets * of_subsets).sum(0)
        subset_sum = subset_sum.transpose(1, 2, 3, 0, 4).reshape(num_joints, num_skeletons, num_frames, -1)
        edge_sum = jnp.broadcast_to(edge_sum.swapaxes(0, 1)[:, :, None], (num_joints, num_skeletons, num_frames, inner))
        return jnp.concatenate([subset_sum, edge_sum], axis=-1)
