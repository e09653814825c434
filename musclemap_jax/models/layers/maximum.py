"""Maxima whose gradients do not rest on a value being equal to the maximum.

The gradient of jnp.max and jnp.maximum goes to what equals the maximum. A compiler that computes the operand once for
the maximum and once more for the comparison may round the two differently, and then the gradient is lost without a
trace: seen on XLA:CPU, in float64, for the maximum over time of batch-normalised features.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

ROUNDING_STEPS = 2
"""How far below the maximum a value may lie to count as it: so many eps of (1 + |maximum|)."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_over_axis(x: jax.Array, axis: int) -> jax.Array:
    """Maximum over one axis; the gradient goes to what is within rounding of it, in equal parts.

    Args:
      x: float array; values of the order of 1.
      axis: not negative.

    Returns:
      x without the axis.
    """
    return x.max(axis)


def _max_forward(x: jax.Array, axis: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    peak = x.max(axis)
    return peak, (x, peak)


def _max_backward(axis: int, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
    x, peak = residuals
    bound = peak - ROUNDING_STEPS * jnp.finfo(x.dtype).eps * (1 + jnp.abs(peak))
    chosen = (x >= jnp.expand_dims(bound, axis)).astype(x.dtype)
    count = jnp.maximum(chosen.sum(axis), 1)
    return (chosen * jnp.expand_dims(gradient / count, axis),)


max_over_axis.defvjp(_max_forward, _max_backward)


def larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """Elementwise maximum; the gradient goes to the larger one alone, to b where they are equal."""
    return jnp.where(a > b, a, b)
