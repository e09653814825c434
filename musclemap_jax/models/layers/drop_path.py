"""Stochastic depth (arXiv:1603.09382): in training, some clips skip a residual branch.

Letters of shapes: B clips.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def drop_path_factors(
    rng: PRNGKeyArray, rates: Float[Array, "*branches"], batch_size: int
) -> Float[Array, "*branches B"]:
    """Draws each residual branch's float32 factor for each clip: 0 at its rate in [0, 1), otherwise 1 / (1 - rate)."""
    keep = jnp.broadcast_to((1.0 - rates)[..., None], (*rates.shape, batch_size))
    return jax.random.bernoulli(rng, keep).astype(jnp.float32) / keep


def scale_clips(x: Float[Array, " B *shape"], factor: Float[Array, " B"] | None) -> Float[Array, " B *shape"]:
    """Multiplies each clip by its factor; None leaves x as it is."""
    if factor is None:
        return x
    return x * factor.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
