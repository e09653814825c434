"""EdgeConv: a convolution over each vertex's nearest neighbours in feature space.

Source: Wang et al., "Dynamic Graph CNN for Learning on Point Clouds" (2019), as HD-GCN uses it on joints and on
hierarchies. We compute W [x_j - x_i; x_i] as W1 x_j + (W2 - W1) x_i, which is equal and maps every vertex once instead
of once for each neighbour, and select neighbours by products with one-hot rows, whose gradient is a product instead of
a scatter.

Letters of shapes: BP skeletons (clips times persons), G groups of vertices, V vertices, k neighbours, D width; D2 the
width of the output.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.initializers import fan_out_normal
from musclemap_jax.models.layers.precision import upcast
from musclemap_jax.models.layers.robust_max import robust_max

LEAKY_SLOPE = 0.2


def nearest_one_hot(features: Float[Array, "*groups V D"], num_neighbours: int) -> Float[Array, "*groups V k V"]:
    """Selects each vertex's nearest vertices by squared distance, itself included; all V if V < `num_neighbours`.

    Returns:
      float32 rows: [i, r] is one at the r-th nearest vertex of i; of equally near vertices the lower index comes first.
      Distances are float32 at full matmul precision whatever the dtype of the features. No gradient flows through them.
    """
    features = upcast(jax.lax.stop_gradient(features))
    num_vertices = features.shape[-2]
    inner = jnp.einsum("...ic,...jc->...ij", features, features, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.square(features).sum(-1)
    distance = squared[..., :, None] - 2 * inner + squared[..., None, :]
    # Rank by counting the nearer vertices: V is small, so this is cheaper than a sort, to run and to compile.
    other, own = distance[..., None, :], distance[..., :, None]
    index = jnp.arange(num_vertices)
    earlier = (index[None, :] < index[:, None]).reshape((1,) * (distance.ndim - 1) + (num_vertices, num_vertices))
    rank = ((other < own) | ((other == own) & earlier)).sum(-1)
    ranks = jnp.arange(min(num_neighbours, num_vertices)).reshape((1,) * (rank.ndim - 1) + (-1, 1))
    return (rank[..., None, :] == ranks).astype(jnp.float32)


class EdgeConv(nn.Module):
    """EdgeConv of several groups of vertices at once, each group with its own weights and statistics."""

    features: int
    num_neighbours: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "BP G V D"], train: bool) -> Float[Array, "BP G V D2"]:
        """Applies the convolution; `train` as in BatchNorm."""
        _, num_groups, _, width = x.shape
        shape = (num_groups, 2 * width, self.features)
        kernel = self.param("kernel", fan_out_normal(self.features), shape, jnp.float32).astype(self.dtype)
        neighbour_kernel, centre_kernel = kernel[:, :width], kernel[:, width:]
        one_hot = nearest_one_hot(x, self.num_neighbours)
        self.sow("intermediates", "neighbours", one_hot)
        x = x.astype(self.dtype)
        from_neighbour = jnp.einsum("ngvc,gcd->ngvd", x, neighbour_kernel)
        from_centre = jnp.einsum("ngvc,gcd->ngvd", x, centre_kernel - neighbour_kernel)
        gathered = jnp.einsum("ngvku,ngud->ngvkd", one_hot.astype(self.dtype), from_neighbour)
        y = BatchNorm((num_groups, self.features), name="norm")(gathered + from_centre[:, :, :, None, :], (1, 4), train)
        return robust_max(relu(y, LEAKY_SLOPE), 3)
