"""Linear layers and the MLP of the transformer blocks, with PySlowFast's initialisation; D is a width."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.layers.activations import gelu
from musclemap_jax.models.layers.initializers import BIAS_INIT, WEIGHT_INIT
from musclemap_jax.sharding.context import platform


def flattened_dot_general(
    x: Float[Array, "*batch D"], kernel: Float[Array, "D D2"], dimension_numbers: lax.DotDimensionNumbers, **settings
) -> Float[Array, "*batch D2"]:
    """`lax.dot_general` as `nn.Dense` calls it; on CPU, x is flattened to a matrix of rows first.

    Where the gradient of a product sums over several axes, XLA:CPU (jax 0.10.2) would transpose the large operand in
    memory.
    """
    if platform() != "cpu":
        return lax.dot_general(x, kernel, dimension_numbers, **settings)
    y = lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **settings)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def dense(features: int, name: str, dtype: DTypeLike, use_bias: bool = True) -> nn.Dense:
    """A linear layer with PySlowFast's initialisation."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=WEIGHT_INIT,
        bias_init=BIAS_INIT,
        dot_general=flattened_dot_general,
        name=name,
    )


class Mlp(nn.Module):
    """Two linear layers with exact GELU between them."""

    hidden: int
    features: int
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, *inputs: Float[Array, "... D"], train: bool = False) -> tuple[Float[Array, "... D2"], ...]:
        """Applies the same layers to each input (..., D); returns as many outputs (..., features)."""
        first = dense(self.hidden, "fc1", self.dtype)
        second = dense(self.features, "fc2", self.dtype)
        drop = nn.Dropout(self.dropout_rate, deterministic=not train)
        return tuple(drop(second(drop(gelu(first(x))))) for x in inputs)
