"""Dtypes: of modules, and of statistics (float32, or float64 for arrays of float64)."""

from __future__ import annotations

from typing import TypedDict

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float


class Dtypes(TypedDict):
    """Keyword arguments of a module: the dtypes of its computation and of its parameters."""

    dtype: DTypeLike
    param_dtype: DTypeLike


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """float32, or `dtype` where it is wider."""
    return jnp.promote_types(dtype, jnp.float32)


def upcast(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x in float32, or as it is where it is wider."""
    return x.astype(at_least_float32(x.dtype))
