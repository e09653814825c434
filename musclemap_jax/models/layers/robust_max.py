"""Maxima whose gradients survive rounding.

The gradient of jnp.max and jnp.maximum goes to the elements that equal the maximum. A compiler that computes the
operand once for the maximum and again for the comparison may round the two differently, and the gradient silently
vanishes: seen on XLA:CPU, in float64, for the maximum over time of batch-normalised features.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TOLERANCE_EPS = 2
"""Elements count as the maximum if they are at most this many eps * (1 + |maximum|) below it."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def robust_max(x: Float[Array, " ..."], axis: int) -> Float[Array, " ..."]:
    """Maximum over an axis, not negative, of values of the order of 1; all within rounding of it share the gradient."""
    return x.max(axis)


def _max_forward(x, axis):
    peak = x.max(axis)
    return peak, (x, peak)


def _max_backward(axis, residuals, gradient):
    x, peak = residuals
    bound = peak - TOLERANCE_EPS * jnp.finfo(x.dtype).eps * (1 + jnp.abs(peak))
    chosen = (x >= jnp.expand_dims(bound, axis)).astype(x.dtype)
    count = jnp.maximum(chosen.sum(axis), 1)
    return (chosen * jnp.expand_dims(gradient / count, axis),)


robust_max.defvjp(_max_forward, _max_backward)


def robust_maximum(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Elementwise maximum; the gradient goes to the larger one, or to b where they are equal."""
    return jnp.where(a > b, a, b)
