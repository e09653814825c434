"""Matrix products and layer norm inside the TPU kernels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def contract(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
    """Contracts one axis of each matrix, in float32."""
    precision = lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return lax.dot_general(
        a, b, (((axis_a,), (axis_b,)), ((), ())), precision=precision, preferred_element_type=jnp.float32
    )


def standardise(x: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """(x - mean) / deviation and 1 / deviation of each row; x is (rows, D) float32."""
    centred = x - jnp.mean(x, axis=1, keepdims=True)
    inverse = lax.rsqrt(jnp.mean(centred * centred, axis=1, keepdims=True) + epsilon)
    return centred * inverse, inverse


def standardise_gradient(d_standard: jax.Array, standard: jax.Array, inverse: jax.Array) -> jax.Array:
    """The gradient of x in `standardise`, from the gradient of its first result and from both results."""
    mean = jnp.mean(d_standard, axis=1, keepdims=True)
    slope = jnp.mean(d_standard * standard, axis=1, keepdims=True)
    return inverse * (d_standard - mean - standard * slope)
