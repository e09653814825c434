"""Kernels evaluated here, and lowered for other platforms."""

import jax
import jax.numpy as jnp
import numpy as np


def value_and_gradients(function, *arguments):
    """Value, and gradients of its product with a fixed random array."""
    y = jax.eval_shape(function, *arguments)
    dy = jnp.asarray(np.random.default_rng(5).standard_normal(y.shape), y.dtype)

    def run(dy, *arguments):
        y, transpose = jax.vjp(function, *arguments)
        return y, *transpose(dy)

    return jax.jit(run)(dy, *arguments)


def gradient_lowered_for(platform, function, *shapes):
    """StableHLO of a gradient for a platform that need not be present."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    gradient = jax.jit(jax.grad(lambda *a: jnp.sum(function(*a) ** 2)))
    return gradient.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
