"""A barrier that keeps XLA:CPU from fusing a chain of elementwise operations into what follows it."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def fusion_barrier(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns x unchanged, and ends a chain of elementwise operations on a CPU; on other platforms it does nothing.

    XLA:CPU hands such chains to YNNPACK, together with the products and reductions around them. YNNPACK supports
    neither slices nor scalars: it writes all 27 shifted copies of a depthwise convolution, and whole arrays of a GELU's
    constants. It does not support selection either, so what precedes one is compiled as a single loop.
    """
    return lax.platform_dependent(x, cpu=lambda x: jnp.where(jnp.isnan(x), jnp.nan, x), default=lambda x: x)
