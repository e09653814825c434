"""Dtype of statistics: float32, or float64 for arrays of float64."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """float32, or `dtype` where it is wider."""
    return jnp.promote_types(dtype, jnp.float32)


def upcast(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x in float32, or as it is where it is wider."""
    return x.astype(at_least_float32(x.dtype))
