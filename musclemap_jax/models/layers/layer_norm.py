"""Layer norm with a custom gradient.

Initialisation is PySlowFast's (`slowfast/models/video_model_builder.py`). The backward pass keeps only the input and
recomputes the rest: automatic differentiation writes several arrays of the input's size, which costs memory traffic on
every platform, and many more kernels to compile on CPU.

Letters of shapes: M class tokens in one set, D width.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.models.layers.initializers import BIAS_INIT, Initializer
from musclemap_jax.models.layers.precision import upcast


def _standardise(x: jax.Array, num_axes: int, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """Returns (x - mean) / deviation and 1 / deviation over the last axes, in float32 or wider."""
    axes = tuple(range(x.ndim - num_axes, x.ndim))
    x = upcast(x)
    centred = x - jnp.mean(x, axis=axes, keepdims=True)
    inverse = lax.rsqrt(jnp.mean(centred * centred, axis=axes, keepdims=True) + epsilon)
    return centred * inverse, inverse


def _expand_to(weight: jax.Array, ndim: int) -> jax.Array:
    return upcast(weight).reshape((1,) * (ndim - weight.ndim) + weight.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def layer_norm(
    x: Float[Array, "*shape"],
    scale: Float[Array, "*weights"],
    bias: Float[Array, "*weights"],
    num_axes: int,
    epsilon: float,
) -> Float[Array, "*shape"]:
    """Normalises the last `num_axes` axes together; statistics are float32 even where x is narrower.

    Args:
      x: (..., D) for one axis, (..., M, D) for two; the result has its dtype.
      scale: The shape of the last axes of x; may span more axes than are normalised.
      bias: Like `scale`.
      num_axes: 1 or 2.
      epsilon: Added to the variance.
    """
    y, _ = _standardise(x, num_axes, epsilon)
    return (y * _expand_to(scale, x.ndim) + _expand_to(bias, x.ndim)).astype(x.dtype)


def _layer_norm_backward(num_axes, epsilon, residuals, dy):
    x, scale, bias = residuals
    axes = tuple(range(x.ndim - num_axes, x.ndim))
    y, inverse = _standardise(x, num_axes, epsilon)
    dy = upcast(dy)
    scaled = dy * _expand_to(scale, x.ndim)
    mean = jnp.mean(scaled, axis=axes, keepdims=True)
    slope = jnp.mean(scaled * y, axis=axes, keepdims=True)
    dx = inverse * (scaled - mean - y * slope)
    batch_axes = tuple(range(x.ndim - scale.ndim))
    d_scale, d_bias = jnp.sum(dy * y, axis=batch_axes), jnp.sum(dy, axis=batch_axes)
    return dx.astype(x.dtype), d_scale.astype(scale.dtype), d_bias.astype(bias.dtype)


layer_norm.defvjp(lambda *arguments: (layer_norm(*arguments), arguments[:3]), _layer_norm_backward)


class LayerNormParams(nn.Module):
    """The parameters `scale` and `bias` of a layer norm, for callers that normalise several arrays at once."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        scale = self.param("scale", nn.initializers.ones, self.shape, jnp.float32)
        return scale, self.param("bias", BIAS_INIT, self.shape, jnp.float32)


class LayerNorm(nn.Module):
    """Layer norm with learned `scale` and `bias`; statistics are float32.

    Attributes:
      num_axes: The number of last axes that are normalised together, with one weight for each element.
      epsilon: Added to the variance.
    """

    num_axes: int = 1
    epsilon: float = 1e-6
    bias_init: Initializer = BIAS_INIT
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        shape = x.shape[x.ndim - self.num_axes :]
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", self.bias_init, shape, jnp.float32)
        return layer_norm(x.astype(self.dtype), scale, bias, self.num_axes, self.epsilon)
