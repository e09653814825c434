"""EdgeConv: a convolution over each vertex's nearest neighbours in feature space.

Source: Wang et al., "Dynamic Graph CNN for Learning on Point Clouds" (2019), as HD-GCN uses it on joints and on
hierarchies. We compute W [x_j - x_i; x_i] as W1 x_j + (W2 - W1) x_i, which is equal and maps every vertex once instead
of once a neighbour, and pick neighbours by products with one-hot rows, whose gradient is a product and no scatter.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.layers import at_least_float32, relu
from musclemap_jax.models.layers.maximum import max_over_axis

LEAKY_SLOPE = 0.2


def nearest_one_hot(features: jax.Array, num_neighbours: int) -> jax.Array:
    """Picks each vertex's nearest vertices by squared distance, itself included.

    Args:
      features: (..., V, C).
      num_neighbours: k; all V vertices where V < k.

    Returns:
      (..., V, min(k, V), V) float32: row [i, r] is one at the r-th nearest vertex of i; equal distances go to the lower
      index. Chosen in float32 at full matmul precision whatever the dtype of the features; carries no gradient.
    """
    features = jax.lax.stop_gradient(features)
    features = features.astype(at_least_float32(features.dtype))
    num_vertices = features.shape[-2]
    inner = jnp.einsum("...ic,...jc->...ij", features, features, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.square(features).sum(-1)
    distance = squared[..., :, None] - 2 * inner + squared[..., None, :]
    # Rank by counting what is nearer: V is small, so this is cheaper than a sort, in time and in compilation.
    other, own = distance[..., None, :], distance[..., :, None]
    index = jnp.arange(num_vertices)
    earlier = (index[None, :] < index[:, None]).reshape((1,) * (distance.ndim - 1) + (num_vertices, num_vertices))
    rank = ((other < own) | ((other == own) & earlier)).sum(-1)
    ranks = jnp.arange(min(num_neighbours, num_vertices)).reshape((1,) * (rank.ndim - 1) + (-1, 1))
    return (rank[..., None, :] == ranks).astype(jnp.float32)


class EdgeConv(nn.Module):
    """EdgeConv of G groups of vertices at once, each group with its own weights and statistics.

    Attributes:
      features: C', the width of the output.
      num_neighbours: k.
      dtype: dtype of the computation; None for that of the input.
    """

    features: int
    num_neighbours: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (N, G, V, C) to (N, G, V, C'); `train` as in BatchNorm."""
        dtype = self.dtype or x.dtype
        _, num_groups, _, width = x.shape
        kernel = self.param(
            "kernel", fan_out_normal(self.features), (num_groups, 2 * width, self.features), jnp.float32
        ).astype(dtype)
        neighbour_kernel, centre_kernel = kernel[:, :width], kernel[:, width:]
        one_hot = nearest_one_hot(x, self.num_neighbours)
        self.sow("intermediates", "neighbours", one_hot)
        x = x.astype(dtype)
        of_neighbour = jnp.einsum("ngvc,gcd->ngvd", x, neighbour_kernel)
        of_centre = jnp.einsum("ngvc,gcd->ngvd", x, centre_kernel - neighbour_kernel)
        gathered = jnp.einsum("ngvku,ngud->ngvkd", one_hot.astype(dtype), of_neighbour)
        y = BatchNorm((num_groups, self.features), name="norm")(gathered + of_centre[:, :, :, None, :], (1, 4), train)
        return max_over_axis(relu(y, LEAKY_SLOPE), 3)


def fan_out_normal(fan_out: int) -> nn.initializers.Initializer:
    """Kaiming normal initialiser for a ReLU, by fan-out: standard deviation sqrt(2 / fan_out)."""
    return nn.initializers.normal((2 / fan_out) ** 0.5)
