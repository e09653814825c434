"""Initialisers of parameters, as PySlowFast and PyTorch start them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

Initializer = nn.initializers.Initializer

WEIGHT_INIT = nn.initializers.normal(0.02)
"""PySlowFast's trunc_normal_(std=0.02) truncates at +-2, a hundred standard deviations: a plain normal distribution."""

BIAS_INIT = nn.initializers.constant(0.02)
"""Biases of linear layers and layer norms, as in PySlowFast."""


def fan_out_normal(fan_out: int) -> Initializer:
    """Kaiming normal initialiser for a ReLU, by fan-out: standard deviation sqrt(2 / fan_out)."""
    return nn.initializers.normal((2 / fan_out) ** 0.5)


def fan_in_uniform(fan_in: int) -> Initializer:
    """PyTorch's default for the weights and biases of linear layers and convolutions: uniform in +-1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def identity_or_orthogonal(key: jax.Array, shape: tuple[int, int], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """The identity if the width stays, else orthonormal rows or columns, which preserve lengths."""
    if shape[0] == shape[1]:
        return jnp.eye(shape[0], dtype=dtype)
    return nn.initializers.orthogonal()(key, shape, dtype)
