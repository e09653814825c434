"""Exact GELU and (leaky) ReLU with custom gradients.

GELU's backward pass keeps only the input, ReLU's only the output, which the next operation keeps anyway: automatic
differentiation writes several arrays of the input's size, which costs memory traffic on every platform, and many more
kernels to compile on CPU.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from musclemap_jax.models.kernels.fusion_barrier import fusion_barrier
from musclemap_jax.models.layers.precision import upcast


@jax.custom_vjp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Exact GELU, x times the normal distribution function, computed in float32 or wider; returns x's dtype."""
    return fusion_barrier(upcast(x) * _normal_cdf(x)).astype(x.dtype)


def _normal_cdf(x: jax.Array) -> jax.Array:
    return 0.5 * (1.0 + lax.erf(upcast(x) * math.sqrt(0.5)))


def _gelu_backward(x, dy):
    wide = upcast(x)
    density = jnp.exp(-0.5 * wide * wide) * (1.0 / math.sqrt(2.0 * math.pi))
    return ((upcast(dy) * (_normal_cdf(x) + wide * density)).astype(x.dtype),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def relu(x: Float[Array, "*shape"], slope: float = 0.0) -> Float[Array, "*shape"]:
    """x where it is positive, elsewhere x times `slope` in [0, 1); the gradient at 0 is `slope`, as in PyTorch."""
    return jnp.maximum(x, x * slope if slope else 0)


def _relu_forward(x, slope):
    y = relu(x, slope)
    return y, y


relu.defvjp(_relu_forward, lambda slope, y, dy: (jnp.where(y > 0, dy, dy * slope),))
